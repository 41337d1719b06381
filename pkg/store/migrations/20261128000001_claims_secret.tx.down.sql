DROP INDEX claims_secret;
