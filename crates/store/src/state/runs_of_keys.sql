-- With which key a run was minted, and what tells how many live.
ALTER TABLE runs ADD COLUMN key TEXT;
UPDATE runs SET key = substr(minted_by, -8) WHERE minted_by LIKE '% with key ________';
CREATE INDEX runs_key ON runs (key, expires) WHERE key IS NOT NULL;
CREATE INDEX runs_parent ON runs (parent, expires) WHERE parent IS NOT NULL;
CREATE INDEX runs_principal ON runs (principal, expires);
