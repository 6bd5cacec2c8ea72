-- What operators did, for the gateway to record. `seq` is the record's place in the ledger, once it has one.
CREATE TABLE actions (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE DEFAULT ('act_' || lower(hex(randomblob(12)))),
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  what TEXT NOT NULL,
  subject TEXT NOT NULL,
  reason TEXT,
  outcome TEXT NOT NULL,
  seq INTEGER
) STRICT;
CREATE INDEX actions_unrecorded ON actions (no) WHERE seq IS NULL;
