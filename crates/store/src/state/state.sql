-- What is not derivable from the ledger. Times are seconds since the Unix epoch; lists are JSON arrays of strings.
-- `changed` numbers every change of a row over both tables, so that a reader can ask for what is new.
CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), changed INTEGER NOT NULL) STRICT;
INSERT INTO counter (id, changed) VALUES (1, 0);

CREATE TABLE keys (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  groups TEXT NOT NULL,
  note TEXT NOT NULL,
  created INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires INTEGER NOT NULL,
  revoked INTEGER,
  used INTEGER,
  digest BLOB NOT NULL,
  previous BLOB,
  previous_until INTEGER,
  changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_changed ON keys (changed);

CREATE TABLE runs (
  id BLOB PRIMARY KEY,
  kind TEXT NOT NULL,
  principal TEXT NOT NULL,
  issuer TEXT NOT NULL,
  groups TEXT NOT NULL,
  actors TEXT NOT NULL,
  purpose TEXT,
  scope TEXT,
  audience TEXT NOT NULL,
  parent BLOB REFERENCES runs (id),
  bound TEXT,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  minted_by TEXT NOT NULL,
  revoked INTEGER,
  revoked_by TEXT,
  changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_changed ON runs (changed);
CREATE INDEX runs_created ON runs (created);
