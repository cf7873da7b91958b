"""What happened: runs and attempts as frozen data, the same in the store, the API and Python."""

from __future__ import annotations

from typing import Any

import msgspec

from wfengine.states import LifeCycle, Result, Trigger


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


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt of one task. A task's state is that of its last attempt."""

    #: Unique over the home; what the Jobs API calls the task's run_id.
    run_id: int
    task_key: str
    #: 0 for the first.
    attempt_number: int = 0
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
    idempotency_token: str | None = None
    repair_count: int = 0

    def latest(self) -> dict[str, Attempt]:
        """Return the last attempt of each task by task key."""
        return {attempt.task_key: attempt for attempt in self.attempts}

    @property
    def succeeded(self) -> bool:
        """Whether the run counts as a success (SEMANTICS section 3)."""
        return self.result in (Result.SUCCESS, Result.SUCCESS_WITH_FAILURES)
