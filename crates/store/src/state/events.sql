-- What became of holds, for those who are to be told: written with the change itself, and kept until everybody was told.
CREATE TABLE events (
  no INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
  hold TEXT NOT NULL,
  kind TEXT NOT NULL,
  at INTEGER NOT NULL,
  why TEXT,
  deadline INTEGER NOT NULL
) STRICT;

-- Who is told of what: the configuration, as the gateway that runs has it, and what came of it.
CREATE TABLE destinations (
  name TEXT PRIMARY KEY,
  kinds TEXT NOT NULL,
  groups TEXT,
  delivered INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  last_delivered INTEGER,
  last_failed INTEGER,
  error TEXT,
  failures INTEGER NOT NULL DEFAULT 0,
  pause INTEGER NOT NULL DEFAULT 0,
  gone INTEGER
) STRICT, WITHOUT ROWID;

-- What a destination was not told yet. A dead one is not tried any more.
CREATE TABLE deliveries (
  destination TEXT NOT NULL REFERENCES destinations (name) ON DELETE CASCADE,
  event INTEGER NOT NULL REFERENCES events (no),
  hold TEXT NOT NULL,
  since INTEGER NOT NULL,
  due INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  dead INTEGER,
  error TEXT,
  PRIMARY KEY (destination, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (destination, due, event) WHERE dead IS NULL;
CREATE INDEX deliveries_hold ON deliveries (destination, hold, event) WHERE dead IS NULL;
CREATE INDEX deliveries_event ON deliveries (event);
