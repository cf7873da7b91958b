-- Every id that the Jobs API calls a run_id, of runs and of attempts, comes from this one counter.
CREATE TABLE counter (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL
);
INSERT INTO counter (one, next) VALUES (1, 1);

CREATE TABLE jobs (
    job_id INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    -- How many runs it has had; the number_in_job of the last one.
    runs   INTEGER NOT NULL DEFAULT 0
);

-- Jobs as they were when a run was created, shared by all runs of the same text.
CREATE TABLE snapshots (
    sha256 BLOB PRIMARY KEY,
    job    TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
    run_id            INTEGER PRIMARY KEY,
    job_id            INTEGER NOT NULL REFERENCES jobs,
    number_in_job     INTEGER NOT NULL,
    snapshot          BLOB NOT NULL REFERENCES snapshots,
    allowed           TEXT,
    state             TEXT NOT NULL,
    result            TEXT,
    message           TEXT,
    trigger_type      TEXT NOT NULL,
    trigger_time      INTEGER NOT NULL,
    start_time        INTEGER,
    end_time          INTEGER,
    parameters        TEXT,
    idempotency_token TEXT UNIQUE,
    repair_count      INTEGER NOT NULL DEFAULT 0,
    -- Raised by each process that takes the run over; whoever holds an older one may write nothing.
    epoch             INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job_id, number_in_job)
);
CREATE INDEX runs_unfinished ON runs (run_id) WHERE state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR');

CREATE TABLE attempts (
    task_run_id    INTEGER PRIMARY KEY,
    run_id         INTEGER NOT NULL REFERENCES runs,
    -- Place of the task in the job file.
    position       INTEGER NOT NULL,
    task_key       TEXT NOT NULL,
    attempt_number INTEGER NOT NULL,
    state          TEXT NOT NULL,
    result         TEXT,
    message        TEXT,
    start_time     INTEGER,
    end_time       INTEGER,
    not_before     INTEGER,
    outcome        TEXT,
    pid            INTEGER,
    -- JSON, null when empty.
    error          TEXT,
    facts          TEXT,
    resolved       TEXT,
    output         TEXT,
    task_values    TEXT,
    UNIQUE (run_id, task_key, attempt_number)
);

CREATE TABLE events (
    run_id INTEGER NOT NULL REFERENCES runs,
    number INTEGER NOT NULL,
    event  TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;

-- The outbox: one row for each event and subscriber, removed once delivered.
CREATE TABLE deliveries (
    subscriber    TEXT NOT NULL,
    run_id        INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    state         TEXT NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'DEAD')),
    tries         INTEGER NOT NULL DEFAULT 0,
    error         TEXT,
    -- Epoch milliseconds before which it is not tried again.
    next_at       INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    PRIMARY KEY (subscriber, run_id, number),
    FOREIGN KEY (run_id, number) REFERENCES events
) WITHOUT ROWID;
