-- Version 4: servers that an operator has connected, and what a server wanted since.
CREATE TABLE connections (
  server TEXT PRIMARY KEY,
  sealed BLOB,
  wanted TEXT NOT NULL DEFAULT '',
  changed INTEGER NOT NULL
) STRICT;
