-- A person's pause; it outlives the job file, unlike pause_status in it.
ALTER TABLE jobs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;

-- Who executes the run: 'here', the process that created it, or 'daemon'.
ALTER TABLE runs ADD COLUMN executor TEXT NOT NULL DEFAULT 'here';
-- Epoch milliseconds since when it has been waiting for a place among the runs of its job.
ALTER TABLE runs ADD COLUMN queued_at INTEGER;

CREATE INDEX runs_active ON runs (job_id, state) WHERE state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR');
CREATE INDEX runs_queued ON runs (job_id, run_id, queued_at) WHERE state = 'QUEUED';
CREATE INDEX runs_waiting ON runs (job_id, run_id) WHERE state = 'PENDING' AND executor = 'daemon';

-- Processes that lead in something, each fencing the one before it.
CREATE TABLE leaders (
    name  TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;

-- The jobs that the daemon has loaded, those without a schedule too.
CREATE TABLE schedules (
    job_id INTEGER PRIMARY KEY REFERENCES jobs,
    file   TEXT NOT NULL,
    -- Changes when what makes the job due changes.
    timing TEXT NOT NULL,
    -- Epoch milliseconds of the last instant that was considered; never goes back.
    cursor INTEGER NOT NULL,
    -- Whether the file pauses it.
    held   INTEGER NOT NULL DEFAULT 0,
    -- JSON; what a trigger that looks at the world remembers.
    state  TEXT,
    -- Why it cannot be scheduled, or why its last tick had no run.
    error  TEXT
);

-- The ledger: what became of every instant at which a job was due.
CREATE TABLE ticks (
    tick_id     INTEGER PRIMARY KEY,
    job_id      INTEGER NOT NULL REFERENCES jobs,
    -- Epoch milliseconds; of the first instant of a range.
    due         INTEGER NOT NULL,
    -- Last instant of a range, and how many there are; null for a single one.
    through     INTEGER,
    count       INTEGER,
    outcome     TEXT NOT NULL CHECK (outcome IN ('RUN', 'QUEUED', 'SKIPPED', 'MISSED')),
    reason      TEXT,
    run_id      INTEGER REFERENCES runs,
    recorded_at INTEGER NOT NULL,
    UNIQUE (job_id, due)
);

-- What other processes ask of the daemon.
CREATE TABLE requests (
    request_id INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    run_id     INTEGER,
    task_key   TEXT,
    asked_at   INTEGER NOT NULL
);

-- Events that belong to a job and to no run of it stand under the job's id made negative, so that run_id can no longer
-- refer to runs. SQLite cannot drop a reference from a table; deliveries keep theirs to events, by name.
CREATE TABLE new_events (
    run_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    event  TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;
INSERT INTO new_events SELECT run_id, number, event FROM events;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
