-- What clients bring back with the next try of a held call: of each the digest alone, and it counts once.
CREATE TABLE hold_states (
  digest BLOB PRIMARY KEY,
  hold TEXT NOT NULL REFERENCES holds (id),
  made INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_states_hold ON hold_states (hold, made);
ALTER TABLE holds DROP COLUMN state;
-- When somebody first looked at the requester's page.
ALTER TABLE holds ADD COLUMN opened INTEGER;
