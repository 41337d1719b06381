-- Finds a key by the end of its secret, as it is seen in a leak.
CREATE INDEX keys_hint ON keys (hint);
