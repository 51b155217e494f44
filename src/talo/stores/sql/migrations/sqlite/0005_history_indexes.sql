-- Searches of a task's runs, and counts by state, are answered from the index alone, in the order of time.

DROP INDEX IF EXISTS talo_history_name;
CREATE INDEX talo_history_name ON talo_history (name, ended, seq, state, expires);
DROP INDEX IF EXISTS talo_history_ended;
CREATE INDEX talo_history_ended ON talo_history (ended, seq, state, expires);
DROP INDEX IF EXISTS talo_history_fingerprint;
CREATE INDEX talo_history_fingerprint ON talo_history (fingerprint, ended, seq, expires) WHERE fingerprint IS NOT NULL;
