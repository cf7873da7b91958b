-- Named statements of the store: each begins with "-- name:". "/* changes */" stands for the columns that are set.

-- name: take_ids
UPDATE counter SET next = next + :count;

-- name: next_id
SELECT next FROM counter;

-- name: add_job
INSERT OR IGNORE INTO jobs (name) VALUES (:name);

-- name: count_run
UPDATE jobs SET runs = runs + 1 WHERE name = :name;

-- name: job
SELECT job_id, runs FROM jobs WHERE name = :name;

-- name: add_snapshot
INSERT OR IGNORE INTO snapshots (sha256, job) VALUES (:sha256, :job);

-- name: snapshot
SELECT snapshots.job, runs.allowed FROM runs JOIN snapshots ON snapshots.sha256 = runs.snapshot WHERE run_id = :run_id;

-- name: add_run
INSERT INTO runs (run_id, job_id, number_in_job, snapshot, allowed, state, trigger_type, trigger_time, parameters,
                  idempotency_token)
VALUES (:run_id, :job_id, :number_in_job, :snapshot, :allowed, 'PENDING', :trigger_type, :trigger_time, :parameters,
        :idempotency_token);

-- name: run_of_token
SELECT run_id, jobs.name FROM runs JOIN jobs USING (job_id) WHERE idempotency_token = :token;

-- name: run
SELECT runs.*, jobs.name AS job_name FROM runs JOIN jobs USING (job_id) WHERE run_id = :run_id;

-- name: newest_runs
SELECT runs.*, jobs.name AS job_name FROM runs JOIN jobs USING (job_id) ORDER BY run_id DESC LIMIT :limit;

-- name: newest_runs_of_job
SELECT runs.*, jobs.name AS job_name FROM runs JOIN jobs USING (job_id)
WHERE jobs.name = :job ORDER BY number_in_job DESC LIMIT :limit;

-- name: newest_ids
SELECT run_id FROM runs ORDER BY run_id DESC LIMIT :limit;

-- name: unfinished
SELECT run_id FROM runs WHERE state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR') ORDER BY run_id;

-- name: raise_epoch
UPDATE runs SET epoch = epoch + 1 WHERE run_id = :run_id;

-- name: epoch
SELECT epoch FROM runs WHERE run_id = :run_id;

-- name: change_run
UPDATE runs SET /* changes */ WHERE run_id = :run_id AND state = :expect;

-- name: run_state
SELECT state FROM runs WHERE run_id = :run_id;

-- name: add_attempt
INSERT INTO attempts (task_run_id, run_id, position, task_key, attempt_number, state, not_before)
VALUES (:task_run_id, :run_id, :position, :task_key, :attempt_number, :state, :not_before);

-- name: attempts
SELECT * FROM attempts WHERE run_id = :run_id ORDER BY position, attempt_number;

-- name: task_place
SELECT position, MAX(attempt_number) AS last FROM attempts WHERE run_id = :run_id AND task_key = :task_key
GROUP BY position;

-- name: change_attempt
UPDATE attempts SET /* changes */ WHERE task_run_id = :task_run_id AND run_id = :run_id AND state = :expect;

-- name: attempt_state
SELECT state FROM attempts WHERE task_run_id = :task_run_id AND run_id = :run_id;

-- name: add_event
INSERT INTO events (run_id, number, event) VALUES (:run_id, :number, :event);

-- name: last_event
SELECT COALESCE(MAX(number), 0) AS number FROM events WHERE run_id = :run_id;

-- name: events
SELECT event FROM events WHERE run_id = :run_id ORDER BY number;

-- name: add_delivery
INSERT INTO deliveries (subscriber, run_id, number) VALUES (:subscriber, :run_id, :number);

-- name: ready_runs
-- The earliest undelivered event of a run decides for all later ones; next_at is that of the row with the minimum.
SELECT run_id FROM
    (SELECT run_id, MIN(number), next_at FROM deliveries
     WHERE subscriber = :subscriber AND state = 'PENDING' GROUP BY run_id)
WHERE next_at <= :now ORDER BY run_id;

-- name: pending
SELECT subscriber, run_id, number, tries, failing_since, event FROM deliveries JOIN events USING (run_id, number)
WHERE subscriber = :subscriber AND run_id = :run_id AND state = 'PENDING' ORDER BY number LIMIT :limit;

-- name: next_retry
SELECT MIN(next_at) AS next_at FROM deliveries WHERE subscriber = :subscriber AND state = 'PENDING' AND next_at > :now;

-- name: delivered
DELETE FROM deliveries WHERE subscriber = :subscriber AND run_id = :run_id AND number = :number;

-- name: failed
UPDATE deliveries SET
    state = :state, tries = tries + 1, error = :error, next_at = :next_at, failing_since = COALESCE(failing_since, :now)
WHERE subscriber = :subscriber AND run_id = :run_id AND number = :number;
