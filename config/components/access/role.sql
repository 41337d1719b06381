-- The database role of `ai-admin serve --access-only`: what a check reads, when a key was used, and how
-- often credentials were revealed. Not one right more. An administrator (CREATEROLE) makes the role; after
-- `ai-admin migrate` the owner of the tables runs this file in their database:
--
--   psql -v ON_ERROR_STOP=1 -c "CREATE ROLE ai_admin_access LOGIN PASSWORD '...'"   # an administrator
--   psql -v ON_ERROR_STOP=1 -f role.sql                                             # the owner
GRANT SELECT (id, tag, email_key, user_name_key, external_id, role, status, expires_at, models,
              requests_per_minute, tokens_per_minute, monthly_budget_cents, version) ON users TO ai_admin_access;
GRANT SELECT (id, user_id, hash, previous_hash, previous_valid_until, status, models, expires_at, last_used_at),
      UPDATE (last_used_at) ON keys TO ai_admin_access;
GRANT SELECT (user_id, provider, sealed) ON credentials TO ai_admin_access;
GRANT SELECT (bucket, count),
      INSERT (id, at, actor, action, user_id, provider, key_id, request_id, source_ip, outcome, detail, bucket, count),
      UPDATE (count) ON audit TO ai_admin_access;
