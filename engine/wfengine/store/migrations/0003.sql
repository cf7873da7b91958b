-- Epoch milliseconds of the step when the run is part of a backfill.
ALTER TABLE runs ADD COLUMN backfill INTEGER;

-- What an attempt was made from, for plans of repairs.
ALTER TABLE attempts ADD COLUMN fingerprint TEXT;

-- Each repair of a run, with the run as it stood before.
CREATE TABLE repairs (
    run_id     INTEGER NOT NULL REFERENCES runs,
    -- 1 for the first.
    number     INTEGER NOT NULL,
    -- From the counter: smaller than the ids of all attempts made since.
    repair_id  INTEGER NOT NULL,
    asked_at   INTEGER NOT NULL,
    snapshot   BLOB NOT NULL REFERENCES snapshots,
    allowed    TEXT,
    parameters TEXT,
    state      TEXT NOT NULL,
    result     TEXT,
    message    TEXT,
    start_time INTEGER,
    end_time   INTEGER,
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;
