-- What runs have used of the limits of policies: JSON of counters, as `policy` names them. Kept behind the calls, not before them.
CREATE TABLE budgets (
  run TEXT PRIMARY KEY,
  until INTEGER NOT NULL,
  counters TEXT NOT NULL
) STRICT, WITHOUT ROWID;
