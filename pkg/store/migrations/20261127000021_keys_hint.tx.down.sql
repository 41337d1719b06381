DROP INDEX keys_hint;
