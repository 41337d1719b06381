-- Finds the few claims that keep a sealed secret, which a rotation seals again.
CREATE INDEX claims_secret ON claims (key) WHERE secret IS NOT NULL;
