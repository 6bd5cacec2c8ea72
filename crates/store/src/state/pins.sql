-- Definitions of tools. `accepted` is what calls are judged by; `waiting` is what the server said last, if that is something else.
CREATE TABLE pins (
  server TEXT NOT NULL,
  tool TEXT NOT NULL,
  accepted TEXT,
  accepted_digest BLOB,
  waiting TEXT,
  waiting_digest BLOB,
  first_seen INTEGER NOT NULL,
  seen INTEGER NOT NULL,
  accepted_by TEXT,
  changed INTEGER NOT NULL,
  PRIMARY KEY (server, tool)
) STRICT, WITHOUT ROWID;
CREATE INDEX pins_changed ON pins (changed);
