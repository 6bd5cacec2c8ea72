CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  seq_end INTEGER, kind TEXT NOT NULL, call BLOB, round INTEGER NOT NULL, parent BLOB, of_seq INTEGER,
  run BLOB, sn INTEGER, t_start INTEGER NOT NULL, t_end INTEGER, verdict TEXT, status TEXT,
  attention INTEGER NOT NULL, principal TEXT, agent TEXT, agent_version TEXT, server TEXT, transport TEXT,
  era TEXT, version TEXT, direction TEXT, method TEXT, name TEXT, request_bytes INTEGER, answer_bytes INTEGER,
  http_status INTEGER, notes INTEGER NOT NULL, reason TEXT, trace TEXT, args_whole INTEGER NOT NULL, args TEXT,
  error TEXT, result TEXT
) STRICT;
CREATE INDEX calls_run ON calls (run);
CREATE INDEX calls_call ON calls (call) WHERE call IS NOT NULL;
CREATE INDEX calls_name ON calls (name);
CREATE INDEX calls_attention ON calls (attention) WHERE attention = 1;
CREATE TABLE progress (
  no INTEGER PRIMARY KEY, origin TEXT NOT NULL, size INTEGER NOT NULL, ordered INTEGER NOT NULL
) STRICT;
