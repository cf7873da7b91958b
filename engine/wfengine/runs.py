"""What happened: runs, attempts and ticks as frozen data, the same in the store, the API and Python."""

from __future__ import annotations

from typing import Any

import msgspec

from wfengine.states import LifeCycle, Result, TickOutcome, Trigger


class TaskIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempt of which task of which run this is."""

    job_id: int
    job_name: str
    #: The run; the same for all its tasks, attempts and repairs.
    run_id: int
    task_key: str
    #: This attempt's own id, unique over the home.
    task_run_id: int
    #: 0 for the first attempt.
    attempt_number: int = 0
    #: Which iteration of a for_each it is, from 0; -1 for every other task.
    iteration: int = -1
    repair_count: int = 0
    #: Epoch milliseconds of the due tick, or of the request for a run started by hand.
    trigger_time: int = 0


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why an attempt failed, for people."""

    message: str
    #: Short machine-readable cause: ``UserError``, ``Timeout``, ``Killed``, ``NoCompletionRecord``, ``OutOfMemory``,
    #: ``SparkServerDied``, ``EngineDied``, ``ConfigError``.
    code: str = "UserError"
    #: Place in the user's own file, as in ``notebooks/load.py:12 (cell 3)``.
    where: str = ""
    traceback: str = ""


class TableFact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an attempt did to or read from one table."""

    table: str
    #: ``input``, ``output`` or ``quarantine``.
    role: str
    path: str = ""
    #: Delta versions; -1 when the table did not exist.
    version_before: int | None = None
    version_after: int | None = None
    rows: int | None = None
    #: Size of the files that were added.
    bytes: int | None = None
    #: What was done, as the commits name it: ``WRITE``, ``MERGE``, ``CREATE TABLE, WRITE``.
    operation: str = ""
    #: One sentence for each column that was added, removed or given another type.
    schema_changes: tuple[str, ...] = ()


class ExpectationFact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How one expectation came out."""

    name: str
    passed: bool
    #: Rows that broke it.
    failed_rows: int = 0
    on_fail: str = "fail"
    message: str = ""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The counts an attempt reports; None where it does not apply."""

    rows_read: int | None = None
    rows_written: int | None = None
    rows_rejected: int | None = None
    rows_duplicate: int | None = None
    tables: tuple[TableFact, ...] = ()
    expectations: tuple[ExpectationFact, ...] = ()
    #: Further numbers a layer wants shown, by name.
    metrics: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    #: What became of the writes of an attempt that failed, when its task says ``on_failure: restore``.
    undo: str = ""


class Fingerprint(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an attempt was made of, as hashes, so that a repair can tell what has changed since."""

    #: The task's config and expectations as written, and the files with its code.
    code: str
    #: The job parameters.
    parameters: str


#: What attempts belong to: a task by its key with -1, or one iteration of a for_each with its number.
Unit = tuple[str, int]


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt of one task. A task's state is that of its last attempt."""

    #: Unique over the home; what the Jobs API calls the task's run_id.
    run_id: int
    task_key: str
    #: 0 for the first.
    attempt_number: int = 0
    #: Which iteration of the for_each it is, from 0; -1 for an attempt of the task itself.
    iteration: int = -1
    state: LifeCycle = LifeCycle.PENDING
    result: Result | None = None
    message: str = ""
    #: Epoch milliseconds.
    start_time: int | None = None
    end_time: int | None = None
    #: Epoch milliseconds before which a retry does not start.
    not_before: int | None = None
    #: Outcome of a condition, ``"true"`` or ``"false"``.
    outcome: str | None = None
    error: ErrorInfo | None = None
    facts: Facts = Facts()
    #: The task's config with every reference filled in.
    resolved: dict[str, Any] = {}
    #: JSON result of the task, at most 48 KiB.
    output: Any = None
    values: dict[str, Any] = {}
    #: Process id while running.
    pid: int | None = None
    #: None for what was never started.
    fingerprint: Fingerprint | None = None

    @property
    def unit(self) -> Unit:
        """What this is an attempt of."""
        return self.task_key, self.iteration

    @property
    def title(self) -> str:
        """The task's key for people, with the number of the iteration: ``load[3]``."""
        return self.task_key if self.iteration < 0 else f"{self.task_key}[{self.iteration}]"


class Repair(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One repair of a run, and how the run stood before it."""

    #: Smaller than the ids of all attempts made since, greater than those of all before.
    repair_id: int
    #: Epoch milliseconds at which the run was opened again.
    asked_at: int
    #: How the run had ended before it; times in epoch milliseconds.
    state: LifeCycle
    result: Result | None = None
    message: str = ""
    start_time: int | None = None
    end_time: int | None = None
    #: The run's parameters before it.
    parameters: dict[str, str] = {}


class JobRun(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One run of one job with every attempt of its tasks, in the order of the job file and then of attempts."""

    run_id: int
    job_id: int
    job_name: str
    #: 1 for the first run of this job in this home.
    number_in_job: int = 1
    state: LifeCycle = LifeCycle.PENDING
    result: Result | None = None
    message: str = ""
    trigger: Trigger = Trigger.ONE_TIME
    #: Epoch milliseconds of the due tick; for a run started by hand the moment it was asked for.
    trigger_time: int = 0
    start_time: int | None = None
    end_time: int | None = None
    #: Every job parameter with the value of this run.
    parameters: dict[str, str] = {}
    attempts: tuple[Attempt, ...] = ()
    #: The attempts of all iterations of each for_each, in the order of the job file, of iterations and of attempts.
    iterations: tuple[Attempt, ...] = ()
    idempotency_token: str | None = None
    repair_count: int = 0
    #: The run whose run_job task started this one, and the attempt of that task.
    parent_run_id: int | None = None
    parent_task_run_id: int | None = None
    #: What was done after the first end, oldest first; the run itself tells of the time after the last of them.
    repairs: tuple[Repair, ...] = ()
    #: Epoch milliseconds of the step, for a run of a backfill.
    backfill: int | None = None

    def latest(self) -> dict[str, Attempt]:
        """Return the last attempt of each task by task key."""
        return {attempt.task_key: attempt for attempt in self.attempts}

    def iterated(self, task_key: str) -> list[Attempt]:
        """Return the last attempt of each iteration of a for_each, in order."""
        return list({a.iteration: a for a in self.iterations if a.task_key == task_key}.values())

    def of_former(self, attempt: Attempt) -> bool:
        """Whether an attempt was made before the run's last repair, if it had any."""
        return bool(self.repairs) and 0 < attempt.run_id < self.repairs[-1].repair_id

    @property
    def succeeded(self) -> bool:
        """Whether the run counts as a success (docs/semantics.md, section 3)."""
        return self.result in (Result.SUCCESS, Result.SUCCESS_WITH_FAILURES)


class Tick(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One row of the ledger: an instant, or a range of them that came to nothing."""

    job_id: int
    job_name: str
    #: Epoch milliseconds at which the job was due; of a range the first.
    due: int
    #: Last instant of the range; ``due`` for a single one.
    through: int
    #: How many instants the row stands for.
    count: int = 1
    outcome: TickOutcome
    #: Why there is no run, or why it waits.
    reason: str = ""
    run_id: int | None = None
    #: Epoch milliseconds at which the row was written.
    recorded_at: int


class RecentRun(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A run in brief; times in epoch milliseconds."""

    run_id: int
    state: LifeCycle
    result: Result | None = None
    trigger_time: int
    start_time: int | None = None
    end_time: int | None = None


class JobRow(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A job that the daemon has loaded."""

    job_id: int
    name: str
    file: str
    #: Whether a person has paused it; pause_status in its file is another matter.
    paused: bool = False
    #: Why it cannot be scheduled, or why its last tick had no run.
    error: str = ""
    #: Epoch milliseconds of the last instant that was considered; the next due one is the first after it.
    cursor: int
    #: Runs that hold a place, and runs that wait for one.
    active: int = 0
    queued: int = 0
    #: How many runs it has had.
    runs: int = 0
    #: The last few runs, newest first.
    recent: tuple[RecentRun, ...] = ()
