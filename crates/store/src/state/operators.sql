-- Operators, the links by which they choose a password, and their sessions. Of links and sessions there are digests only.
CREATE TABLE operators (
  identity TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  roles TEXT NOT NULL,
  groups TEXT NOT NULL DEFAULT '[]',
  password TEXT,
  created INTEGER NOT NULL,
  disabled INTEGER
) STRICT, WITHOUT ROWID;

-- Without `identity`: whoever opens it becomes the first operator.
CREATE TABLE operator_links (
  digest BLOB PRIMARY KEY,
  identity TEXT REFERENCES operators (identity),
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_sessions (
  digest BLOB PRIMARY KEY,
  identity TEXT NOT NULL,
  name TEXT NOT NULL,
  groups TEXT NOT NULL,
  begun INTEGER NOT NULL,
  used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX operator_sessions_identity ON operator_sessions (identity);
