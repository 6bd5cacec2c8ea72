-- Clients that registered themselves, and the refresh tokens of logins. A login is a run.
CREATE TABLE clients (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  redirects TEXT NOT NULL,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE refreshes (
  digest BLOB PRIMARY KEY,
  run BLOB NOT NULL REFERENCES runs (id),
  client TEXT NOT NULL,
  spent INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refreshes_run ON refreshes (run);
