-- Calls that wait for people as tasks of the protocol's extension. Of a task's id there is the digest alone; `call` and `said` are
-- sealed with a key that is made of the id, which is not kept. Times are seconds since the Unix epoch.
CREATE TABLE hold_tasks (
  digest BLOB NOT NULL UNIQUE,
  hold TEXT NOT NULL REFERENCES holds (id),
  principal TEXT NOT NULL,
  run TEXT NOT NULL,
  server TEXT NOT NULL,
  standing TEXT NOT NULL,
  call BLOB NOT NULL,
  said BLOB,
  made INTEGER NOT NULL,
  turned INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT;
CREATE INDEX hold_tasks_hold ON hold_tasks (hold);
CREATE INDEX hold_tasks_until ON hold_tasks (until);
