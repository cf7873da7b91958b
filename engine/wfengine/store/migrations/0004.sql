-- Attempts of the iterations of a for_each: numbered from 0, -1 for attempts of a task itself. SQLite cannot change what
-- is unique in a table, so it is made anew.
CREATE TABLE new_attempts (
    task_run_id    INTEGER PRIMARY KEY,
    run_id         INTEGER NOT NULL REFERENCES runs,
    -- Place of the task in the job file.
    position       INTEGER NOT NULL,
    task_key       TEXT NOT NULL,
    iteration      INTEGER NOT NULL DEFAULT -1,
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
    -- What it was made from, for plans of repairs.
    fingerprint    TEXT,
    UNIQUE (run_id, task_key, iteration, attempt_number)
);
INSERT INTO new_attempts
    (task_run_id, run_id, position, task_key, attempt_number, state, result, message, start_time, end_time, not_before,
     outcome, pid, error, facts, resolved, output, task_values, fingerprint)
SELECT task_run_id, run_id, position, task_key, attempt_number, state, result, message, start_time, end_time, not_before,
       outcome, pid, error, facts, resolved, output, task_values, fingerprint
FROM attempts;
DROP TABLE attempts;
ALTER TABLE new_attempts RENAME TO attempts;

-- The run whose run_job task started this one, and the attempt of that task.
ALTER TABLE runs ADD COLUMN parent_run_id INTEGER;
ALTER TABLE runs ADD COLUMN parent_task_run_id INTEGER;
CREATE UNIQUE INDEX runs_child ON runs (parent_task_run_id) WHERE parent_task_run_id IS NOT NULL;
