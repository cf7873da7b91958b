-- Named statements of the store: each begins with "-- name:". "/* changes */" stands for the columns that are set.

-- name: take_ids
UPDATE counter SET next = next + :count;

-- name: next_id
SELECT next FROM counter;

-- name: add_job
INSERT OR IGNORE INTO jobs (name) VALUES (:name);

-- name: count_run
UPDATE jobs SET runs = runs + 1 WHERE job_id = :job_id;

-- name: job_names
SELECT job_id, name FROM jobs;

-- name: job
SELECT job_id, runs FROM jobs WHERE name = :name;

-- name: add_snapshot
INSERT OR IGNORE INTO snapshots (sha256, job) VALUES (:sha256, :job);

-- name: snapshot
SELECT snapshots.job, runs.allowed FROM runs JOIN snapshots ON snapshots.sha256 = runs.snapshot WHERE run_id = :run_id;

-- name: add_run
INSERT INTO runs (run_id, job_id, number_in_job, snapshot, allowed, executor, state, result, message, start_time, end_time,
                  queued_at, trigger_type, trigger_time, parameters, idempotency_token, backfill,
                  parent_run_id, parent_task_run_id)
VALUES (:run_id, :job_id, (SELECT runs FROM jobs WHERE job_id = :job_id), :snapshot, :allowed, :executor, :state, :result,
        :message, :start_time, :end_time, :queued_at, :trigger_type, :trigger_time, :parameters, :idempotency_token,
        :backfill, :parent_run_id, :parent_task_run_id);

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

-- name: unfinished_of
SELECT run_id FROM runs
WHERE state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR') AND executor = :executor ORDER BY run_id;

-- name: waiting
-- In turns: the job with the fewest runs going first, within a job the oldest run.
SELECT run_id FROM
    (SELECT run_id, job_id, ROW_NUMBER() OVER (PARTITION BY job_id ORDER BY run_id) AS turn FROM runs
     WHERE state = 'PENDING' AND executor = 'daemon')
    LEFT JOIN
    (SELECT job_id, COUNT(*) AS going FROM runs
     WHERE state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR') AND state IN ('RUNNING', 'TERMINATING')
     GROUP BY job_id) USING (job_id)
ORDER BY turn + COALESCE(going, 0), run_id LIMIT :limit;

-- name: job_load
SELECT COUNT(*) FILTER (WHERE state <> 'QUEUED') AS active, COUNT(*) FILTER (WHERE state = 'QUEUED') AS queued FROM runs
WHERE job_id = :job_id AND state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR');

-- name: queues
-- The bare queued_at is that of the row with the minimum.
SELECT job_id, jobs.name AS job_name, MIN(run_id) AS run_id, queued_at,
    (SELECT COUNT(*) FROM runs AS others
     WHERE others.job_id = runs.job_id AND others.state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR')
         AND others.state <> 'QUEUED') AS active
FROM runs JOIN jobs USING (job_id) WHERE state = 'QUEUED' GROUP BY job_id ORDER BY 3;

-- name: queued_runs
SELECT run_id, queued_at FROM runs WHERE state = 'QUEUED' AND job_id = :job_id ORDER BY run_id LIMIT :limit;

-- name: promote_run
UPDATE runs SET state = 'PENDING', queued_at = NULL, message = NULL WHERE run_id = :run_id AND state = 'QUEUED';

-- name: not_begun
SELECT state FROM runs
WHERE run_id = :run_id AND executor = 'daemon' AND state IN ('QUEUED', 'PENDING') AND start_time IS NULL;

-- name: cancel_attempts
UPDATE attempts SET state = 'TERMINATED', result = 'CANCELED', message = :message, end_time = :now
WHERE run_id = :run_id AND state IN ('PENDING', 'BLOCKED');

-- name: drop_waiting
DELETE FROM attempts WHERE run_id = :run_id AND state IN ('PENDING', 'BLOCKED');

-- name: raise_epoch
UPDATE runs SET epoch = epoch + 1 WHERE run_id = :run_id;

-- name: epoch
SELECT epoch FROM runs WHERE run_id = :run_id;

-- name: change_run
UPDATE runs SET /* changes */ WHERE run_id = :run_id AND state = :expect;

-- name: add_repair
INSERT INTO repairs (run_id, number, repair_id, asked_at, snapshot, allowed, parameters, state, result, message,
                     start_time, end_time)
SELECT run_id, repair_count + 1, :repair_id, :now, snapshot, allowed, parameters, state, result, message,
    start_time, end_time
FROM runs WHERE run_id = :run_id;

-- name: reopen_run
UPDATE runs SET
    snapshot = :snapshot, allowed = :allowed, parameters = :parameters, executor = :executor, state = :state,
    message = :message, queued_at = :queued_at, result = NULL, start_time = NULL, end_time = NULL,
    repair_count = repair_count + 1
WHERE run_id = :run_id AND state = :expect AND repair_count = :repair_count;

-- name: executor
SELECT executor FROM runs WHERE run_id = :run_id;

-- name: repairs
SELECT * FROM repairs WHERE run_id = :run_id ORDER BY number;

-- name: place_attempts
UPDATE attempts SET position = :position WHERE run_id = :run_id AND task_key = :task_key AND position <> :position;

-- name: last_attempts
SELECT task_key, MAX(attempt_number) AS last, MIN(position) AS position FROM attempts
WHERE run_id = :run_id AND iteration < 0
GROUP BY task_key ORDER BY 3;

-- name: first_in_queue
SELECT MIN(run_id) AS run_id FROM runs WHERE state = 'QUEUED' AND job_id = :job_id AND executor = 'here';

-- name: drop_requests_of
DELETE FROM requests WHERE run_id = :run_id;

-- name: requests_of
SELECT * FROM requests WHERE run_id = :run_id ORDER BY request_id;

-- name: run_state
SELECT state FROM runs WHERE run_id = :run_id;

-- name: child_run
SELECT run_id FROM runs WHERE parent_task_run_id = :task_run_id;

-- name: lineage
WITH RECURSIVE above (run_id, parent_run_id, height) AS (
    SELECT run_id, parent_run_id, 0 FROM runs WHERE run_id = :run_id
    UNION ALL
    SELECT runs.run_id, runs.parent_run_id, height + 1 FROM runs JOIN above ON runs.run_id = above.parent_run_id
)
SELECT jobs.name FROM above JOIN runs USING (run_id) JOIN jobs USING (job_id) ORDER BY height DESC;

-- name: job_by_id
SELECT name FROM jobs WHERE job_id = :job_id;

-- name: add_attempt
INSERT INTO attempts (task_run_id, run_id, position, task_key, iteration, attempt_number, state, not_before)
VALUES (:task_run_id, :run_id, :position, :task_key, :iteration, :attempt_number, :state, :not_before);

-- name: attempts
SELECT * FROM attempts WHERE run_id = :run_id AND iteration < 0 ORDER BY position, attempt_number;

-- name: iterations
SELECT * FROM attempts WHERE run_id = :run_id AND iteration >= 0 ORDER BY position, iteration, attempt_number;

-- name: task_place
SELECT position, MAX(attempt_number) AS last FROM attempts
WHERE run_id = :run_id AND task_key = :task_key AND iteration = :iteration GROUP BY position;

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

-- name: take_lead
INSERT INTO leaders (name, epoch) VALUES (:name, 1) ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1;

-- name: lead
SELECT epoch FROM leaders WHERE name = :name;

-- name: timings
SELECT schedules.*, jobs.name AS job_name, jobs.paused FROM schedules JOIN jobs USING (job_id) ORDER BY jobs.name;

-- name: keep_timing
INSERT INTO schedules (job_id, file, timing, cursor, held, state, error)
VALUES (:job_id, :file, :timing, :cursor, :held, :state, :error)
ON CONFLICT (job_id) DO UPDATE SET
    file = excluded.file, timing = excluded.timing, cursor = excluded.cursor, held = excluded.held,
    state = excluded.state, error = excluded.error;

-- name: forget_timing
DELETE FROM schedules WHERE job_id = :job_id;

-- name: position
SELECT cursor, paused FROM schedules JOIN jobs USING (job_id) WHERE job_id = :job_id;

-- name: move_cursor
UPDATE schedules SET cursor = MAX(cursor, :cursor), state = :state, error = :error WHERE job_id = :job_id;

-- name: set_back
UPDATE schedules SET cursor = :cursor WHERE cursor > :cursor;

-- name: tick_at
SELECT 1 FROM ticks WHERE job_id = :job_id AND due = :due;

-- name: add_tick
INSERT INTO ticks (job_id, due, through, count, outcome, reason, run_id, recorded_at)
VALUES (:job_id, :due, :through, :count, :outcome, :reason, :run_id, :now);

-- name: ticks
SELECT ticks.*, jobs.name AS job_name FROM ticks JOIN jobs USING (job_id) ORDER BY tick_id DESC LIMIT :limit;

-- name: ticks_of_job
SELECT ticks.*, jobs.name AS job_name FROM ticks JOIN jobs USING (job_id)
WHERE job_id = :job_id ORDER BY due DESC LIMIT :limit;

-- name: pause
UPDATE jobs SET paused = 1 WHERE job_id = :job_id;

-- name: resume
UPDATE jobs SET paused = 0 WHERE job_id = :job_id AND paused;

-- name: count_from
UPDATE schedules SET cursor = MAX(cursor, :now) WHERE job_id = :job_id;

-- name: job_list
SELECT schedules.*, jobs.name AS job_name, jobs.paused, jobs.runs,
    (SELECT COUNT(*) FROM runs WHERE runs.job_id = jobs.job_id AND state <> 'QUEUED'
         AND state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR')) AS active,
    (SELECT COUNT(*) FROM runs WHERE runs.job_id = jobs.job_id AND state = 'QUEUED') AS queued
FROM schedules JOIN jobs USING (job_id) ORDER BY jobs.name;

-- name: recent_runs
-- CROSS JOIN keeps the order of the tables, so that of each job only the last runs are read.
SELECT runs.job_id, run_id, runs.state, result, trigger_time, start_time, end_time
FROM schedules CROSS JOIN jobs USING (job_id)
    CROSS JOIN runs ON runs.job_id = jobs.job_id AND number_in_job > jobs.runs - :count
ORDER BY runs.job_id, number_in_job DESC;

-- name: add_request
INSERT INTO requests (kind, run_id, task_key, asked_at) VALUES (:kind, :run_id, :task_key, :now);

-- name: requests
-- What is asked of a process that executes its runs itself is for that one, as long as they go on.
SELECT requests.* FROM requests LEFT JOIN runs USING (run_id)
WHERE runs.run_id IS NULL OR executor = 'daemon' OR state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR')
ORDER BY request_id;

-- name: drop_request
DELETE FROM requests WHERE request_id = :request_id;

-- name: newest_marks
SELECT (SELECT COALESCE(MAX(tick_id), 0) FROM ticks) AS tick_id, (SELECT COALESCE(MAX(run_id), 0) FROM runs) AS run_id;

-- name: ticks_after
SELECT tick_id, job_id, outcome, COALESCE(count, 1) AS count, run_id FROM ticks
WHERE tick_id > :tick_id ORDER BY tick_id LIMIT :limit;

-- name: runs_after
SELECT run_id, job_id, state, result, trigger_type, trigger_time, start_time, end_time FROM runs
WHERE run_id > :run_id ORDER BY run_id LIMIT :limit;

-- name: run_brief
SELECT run_id, job_id, state, result, trigger_type, trigger_time, start_time, end_time FROM runs WHERE run_id = :run_id;

-- name: loaded_jobs
SELECT job_id, jobs.name AS job_name FROM schedules JOIN jobs USING (job_id) ORDER BY jobs.name;

-- name: job_errors
SELECT jobs.name AS job_name, error FROM schedules JOIN jobs USING (job_id) WHERE error IS NOT NULL ORDER BY jobs.name;

-- name: unfinished_by_state
SELECT state, COUNT(*) AS count FROM runs WHERE state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR') GROUP BY state;

-- name: queue_lengths
SELECT job_id, jobs.name AS job_name, COUNT(*) AS count, MIN(queued_at) AS since FROM runs JOIN jobs USING (job_id)
WHERE state = 'QUEUED' GROUP BY job_id ORDER BY jobs.name;

-- name: backlogs
SELECT subscriber, COUNT(*) FILTER (WHERE state = 'PENDING') AS waiting, COUNT(*) FILTER (WHERE state = 'DEAD') AS dead,
    MAX(failing_since) FILTER (WHERE state = 'DEAD') AS dead_since,
    MIN(failing_since) FILTER (WHERE state = 'PENDING') AS failing_since
FROM deliveries GROUP BY subscriber ORDER BY subscriber;

-- name: results_since
-- Of the newest rows only, so that it costs the same however many there are.
SELECT result, COUNT(*) AS count FROM (SELECT result, trigger_time FROM runs ORDER BY run_id DESC LIMIT :limit)
WHERE result IS NOT NULL AND trigger_time >= :since GROUP BY result ORDER BY result;

-- name: outcomes_since
SELECT outcome, SUM(count) AS count
FROM (SELECT outcome, COALESCE(count, 1) AS count, recorded_at FROM ticks ORDER BY tick_id DESC LIMIT :limit)
WHERE recorded_at >= :since GROUP BY outcome ORDER BY outcome;

-- name: delays_since
-- Of ticks whose run had a place at once; those noticed late are what a downtime left.
SELECT start_time - due AS delay, recorded_at - due AS noticed
FROM (SELECT due, outcome, run_id, recorded_at FROM ticks ORDER BY tick_id DESC LIMIT :limit) JOIN runs USING (run_id)
WHERE outcome = 'RUN' AND recorded_at >= :since AND start_time IS NOT NULL AND repair_count = 0 ORDER BY delay;

-- name: audit_runs
SELECT run_id, job_id, snapshot, state, result, start_time, end_time, repair_count FROM runs ORDER BY run_id;

-- name: audit_attempts
-- In the order of the index of what is unique, so that nothing is sorted.
SELECT run_id, task_run_id, task_key, iteration, attempt_number, state, result, start_time, end_time, outcome
FROM attempts ORDER BY run_id, task_key, iteration, attempt_number;

-- name: audit_events
SELECT run_id, number, event FROM events WHERE run_id > 0 ORDER BY run_id, number;

-- name: audit_repairs
SELECT run_id, number, snapshot, start_time FROM repairs ORDER BY run_id, number;

-- name: audit_run_ids
SELECT run_id FROM runs;

-- name: audit_executed
SELECT DISTINCT run_id FROM attempts WHERE start_time IS NOT NULL;

-- name: audit_snapshot
SELECT job FROM snapshots WHERE sha256 = :sha256;

-- name: audit_leftovers
SELECT run_id, since FROM leftovers;

-- name: audit_oddities
-- What stands alone although it belongs to something else; each with a sentence.
SELECT 'ticks' AS rule, 'tick ' || tick_id AS subject, 'its outcome is ' || outcome || ' and it names no run' AS message
FROM ticks WHERE outcome <> 'MISSED' AND run_id IS NULL
UNION ALL
SELECT 'ticks', 'tick ' || tick_id, 'it was missed and names run ' || run_id
FROM ticks WHERE outcome = 'MISSED' AND run_id IS NOT NULL
UNION ALL
SELECT 'ticks', 'tick ' || tick_id, 'there is no run ' || ticks.run_id
FROM ticks LEFT JOIN runs USING (run_id) WHERE ticks.run_id IS NOT NULL AND runs.run_id IS NULL
UNION ALL
SELECT 'ticks', 'tick ' || tick_id, 'run ' || ticks.run_id || ' is one of another job or instant'
FROM ticks JOIN runs USING (run_id) WHERE ticks.job_id <> runs.job_id OR due <> trigger_time
UNION ALL
SELECT 'ticks', 'run ' || run_id, 'it was scheduled and has ' || COUNT(tick_id) || ' ticks, not one'
FROM runs LEFT JOIN ticks USING (run_id)
WHERE trigger_type IN ('PERIODIC', 'FILE_ARRIVAL', 'TABLE', 'CONTINUOUS') GROUP BY run_id HAVING COUNT(tick_id) <> 1
UNION ALL
SELECT 'deliveries', 'delivery ' || run_id || '-' || number || '-' || subscriber, 'there is no such event'
FROM deliveries LEFT JOIN events USING (run_id, number) WHERE event IS NULL
UNION ALL
SELECT 'events', 'run ' || run_id, 'there are events of it, and no such run'
FROM (SELECT DISTINCT run_id FROM events WHERE run_id > 0) LEFT JOIN runs USING (run_id) WHERE job_id IS NULL
UNION ALL
SELECT 'attempts', 'run ' || run_id, 'there are attempts of it, and no such run'
FROM (SELECT DISTINCT run_id FROM attempts) LEFT JOIN runs USING (run_id) WHERE job_id IS NULL
UNION ALL
SELECT 'ids', 'run ' || runs.run_id, 'an attempt of run ' || attempts.run_id || ' has the same id'
FROM runs JOIN attempts ON task_run_id = runs.run_id
UNION ALL
SELECT 'ids', 'repair ' || repair_id, 'a run or an attempt has the same id'
FROM repairs WHERE EXISTS (SELECT 1 FROM runs WHERE runs.run_id = repair_id)
    OR EXISTS (SELECT 1 FROM attempts WHERE task_run_id = repair_id)
UNION ALL
SELECT 'ids', 'counter', 'the next id is ' || next || ', and ' || greatest || ' is in use'
FROM counter, (SELECT MAX(id) AS greatest FROM
    (SELECT MAX(run_id) AS id FROM runs UNION ALL SELECT MAX(task_run_id) FROM attempts
     UNION ALL SELECT MAX(repair_id) FROM repairs UNION ALL SELECT MAX(run_id) FROM leftovers))
WHERE next <= greatest
UNION ALL
SELECT 'ids', 'job ' || jobs.name, 'run number ' || MAX(number_in_job) || ' is beyond its count of ' || jobs.runs
FROM runs JOIN jobs USING (job_id) GROUP BY job_id HAVING MAX(number_in_job) > jobs.runs;

-- name: old_runs
-- What an unfinished run has started stays as long as that run may look at it.
SELECT run_id, (SELECT COUNT(*) FROM attempts WHERE attempts.run_id = runs.run_id) AS attempts FROM runs
WHERE run_id > :after AND end_time < :before AND state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR')
    AND NOT EXISTS (SELECT 1 FROM runs AS parent WHERE parent.run_id = runs.parent_run_id
                    AND parent.state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR'))
ORDER BY run_id LIMIT :limit;

-- name: mark_pruned
INSERT OR REPLACE INTO leftovers (run_id, since) SELECT run_id, 0 FROM runs
WHERE run_id = :run_id AND end_time < :before AND state IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR');

-- name: prune_deliveries
DELETE FROM deliveries WHERE run_id IN (SELECT run_id FROM leftovers WHERE since = 0);

-- name: prune_events
DELETE FROM events WHERE run_id IN (SELECT run_id FROM leftovers WHERE since = 0);

-- name: prune_attempts
DELETE FROM attempts WHERE run_id IN (SELECT run_id FROM leftovers WHERE since = 0);

-- name: prune_repairs
DELETE FROM repairs WHERE run_id IN (SELECT run_id FROM leftovers WHERE since = 0);

-- name: prune_requests
DELETE FROM requests WHERE run_id IN (SELECT run_id FROM leftovers WHERE since = 0);

-- name: prune_ticks
DELETE FROM ticks WHERE run_id IN (SELECT run_id FROM leftovers WHERE since = 0);

-- name: prune_runs
DELETE FROM runs WHERE run_id IN (SELECT run_id FROM leftovers WHERE since = 0);

-- name: old_missed
SELECT COUNT(*) AS count FROM ticks WHERE run_id IS NULL AND recorded_at < :before;

-- name: prune_missed
DELETE FROM ticks
WHERE tick_id IN (SELECT tick_id FROM ticks WHERE run_id IS NULL AND recorded_at < :before LIMIT :limit);

-- name: prune_told
-- The newest of each job stays, so that the numbers go on from it.
DELETE FROM events
WHERE run_id < 0 AND json_extract(event, '$.time') < :before
    AND number < (SELECT MAX(number) FROM events AS others WHERE others.run_id = events.run_id)
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.run_id = events.run_id
                    AND deliveries.number = events.number);

-- name: prune_snapshots
DELETE FROM snapshots WHERE sha256 NOT IN (SELECT snapshot FROM runs UNION SELECT snapshot FROM repairs);

-- name: unused_snapshots
SELECT COUNT(*) AS count FROM snapshots
WHERE sha256 NOT IN (SELECT snapshot FROM runs UNION SELECT snapshot FROM repairs);

-- name: leftovers_before
SELECT run_id FROM leftovers WHERE since < :before;

-- name: drop_leftover
DELETE FROM leftovers WHERE run_id = :run_id;

-- name: add_leftover
INSERT OR IGNORE INTO leftovers (run_id, since)
SELECT :run_id, :since WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run_id = :run_id);

-- name: fence_runs
UPDATE runs SET epoch = MAX(epoch + 1, :epoch) WHERE state NOT IN ('TERMINATED', 'SKIPPED', 'INTERNAL_ERROR');

-- name: fence_leaders
UPDATE leaders SET epoch = MAX(epoch + 1, :epoch);

-- name: move_ids
UPDATE counter SET next = MAX(next, :next);
