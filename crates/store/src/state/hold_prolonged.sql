-- How often people were given more time to decide.
ALTER TABLE holds ADD COLUMN prolonged INTEGER NOT NULL DEFAULT 0;
