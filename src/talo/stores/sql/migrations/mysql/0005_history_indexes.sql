-- Searches of a task's runs, and counts by state, are answered from the index alone, in the order of time.

ALTER TABLE talo_history
    DROP KEY talo_history_name,
    ADD KEY talo_history_name (name, ended, seq, state, expires),
    DROP KEY talo_history_ended,
    ADD KEY talo_history_ended (ended, seq, state, expires),
    DROP KEY talo_history_fingerprint,
    ADD KEY talo_history_fingerprint (fingerprint, ended, seq, expires);
