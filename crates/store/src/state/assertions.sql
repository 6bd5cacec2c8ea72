-- SAML assertions that were accepted, until they end of themselves; and what a login's provider said of it.
CREATE TABLE assertions (
  digest BLOB PRIMARY KEY,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX assertions_until ON assertions (until);
ALTER TABLE runs ADD COLUMN login TEXT;
