-- Servers whose first list of tools is not at its end yet: digests of the cursors by which it goes on, and until when that is waited for.
CREATE TABLE first_lists (
  server TEXT NOT NULL,
  cursor BLOB NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (server, cursor)
) STRICT, WITHOUT ROWID;
