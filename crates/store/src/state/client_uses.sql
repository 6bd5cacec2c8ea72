-- When a client last logged somebody in. Those that never did make way for others that register, and no others do.
ALTER TABLE clients ADD COLUMN used INTEGER;
UPDATE clients SET used = created WHERE id IN (SELECT client FROM refreshes)
  OR id IN (SELECT substr(minted_by, instr(minted_by, ' by login with ') + 15) FROM runs
            WHERE instr(minted_by, ' by login with ') > 0);
CREATE INDEX clients_used ON clients (used, created);
