-- Calls that wait, or waited, for people. What an approval is bound to: principal, run, server, method, name, digest, needs, pin.
CREATE TABLE holds (
  id TEXT PRIMARY KEY,
  principal TEXT NOT NULL,
  run TEXT NOT NULL,
  server TEXT NOT NULL,
  method TEXT NOT NULL,
  name TEXT NOT NULL,
  digest BLOB NOT NULL,
  needs TEXT NOT NULL,
  pin BLOB,
  requesters TEXT NOT NULL,
  agent TEXT,
  purpose TEXT,
  reason TEXT,
  policies TEXT NOT NULL,
  asked INTEGER,
  asks INTEGER NOT NULL,
  created INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  status TEXT NOT NULL,
  ended INTEGER,
  why TEXT,
  run_wide TEXT,
  run_digest BLOB,
  uses INTEGER NOT NULL,
  outcome TEXT,
  state BLOB,
  changed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_changed ON holds (changed);
CREATE INDEX holds_key ON holds (principal, run, server, method, name);
CREATE INDEX holds_open ON holds (deadline) WHERE status IN ('pending', 'approved');
CREATE INDEX holds_created ON holds (created);

-- Who said what. One of a person: what they said first stands.
CREATE TABLE ballots (
  hold TEXT NOT NULL REFERENCES holds (id),
  who TEXT NOT NULL,
  people TEXT NOT NULL,
  groups TEXT NOT NULL,
  decision TEXT NOT NULL,
  reason TEXT,
  at INTEGER NOT NULL,
  PRIMARY KEY (hold, who)
) STRICT, WITHOUT ROWID;
