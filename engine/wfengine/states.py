"""The states of runs and tasks, spelled as Databricks spells them, and which may follow which."""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """A closed vocabulary whose members are their own text."""

    def __str__(self) -> str:
        return str(self.value)


class LifeCycle(Word):
    """Where a run or an attempt stands."""

    #: Waiting for a place among the concurrent runs of its job.
    QUEUED = "QUEUED"
    #: Free to start, waiting for a worker.
    PENDING = "PENDING"
    #: Waiting for upstream tasks to end.
    BLOCKED = "BLOCKED"
    #: Its process is alive, or for a run: at least one task has been considered.
    RUNNING = "RUNNING"
    #: The next attempt of a failed task, waiting for its interval.
    WAITING_FOR_RETRY = "WAITING_FOR_RETRY"
    #: Being stopped: cancelled or timed out, processes not yet gone.
    TERMINATING = "TERMINATING"
    #: Ended; the result says how. Tasks that were never executed end here as well.
    TERMINATED = "TERMINATED"
    #: A run that was never started because its job was at its limit.
    SKIPPED = "SKIPPED"
    #: The engine, not the task, failed: its process died while this was running.
    INTERNAL_ERROR = "INTERNAL_ERROR"

    @property
    def ended(self) -> bool:
        """Whether nothing can follow except a repair."""
        return self in _ENDED


_ENDED = frozenset({LifeCycle.TERMINATED, LifeCycle.SKIPPED, LifeCycle.INTERNAL_ERROR})


class Result(Word):
    """How a run or an attempt ended."""

    SUCCESS = "SUCCESS"
    #: Run only: something failed, every leaf succeeded.
    SUCCESS_WITH_FAILURES = "SUCCESS_WITH_FAILURES"
    FAILED = "FAILED"
    TIMEDOUT = "TIMEDOUT"
    CANCELED = "CANCELED"
    #: Its run_if, or the condition before it, said that it need not run; counts as success.
    EXCLUDED = "EXCLUDED"
    #: Switched off in the job file, or cannot run because of such a task.
    DISABLED = "DISABLED"
    UPSTREAM_FAILED = "UPSTREAM_FAILED"
    UPSTREAM_CANCELED = "UPSTREAM_CANCELED"
    #: Run only: skipped at the job's limit of concurrent runs.
    MAXIMUM_CONCURRENT_RUNS_REACHED = "MAXIMUM_CONCURRENT_RUNS_REACHED"


class RunIf(Word):
    """When a task runs, given how its upstreams ended."""

    ALL_SUCCESS = "ALL_SUCCESS"
    AT_LEAST_ONE_SUCCESS = "AT_LEAST_ONE_SUCCESS"
    NONE_FAILED = "NONE_FAILED"
    ALL_DONE = "ALL_DONE"
    AT_LEAST_ONE_FAILED = "AT_LEAST_ONE_FAILED"
    ALL_FAILED = "ALL_FAILED"


class Trigger(Word):
    """What started a run."""

    ONE_TIME = "ONE_TIME"
    PERIODIC = "PERIODIC"
    RETRY = "RETRY"
    RUN_JOB_TASK = "RUN_JOB_TASK"
    FILE_ARRIVAL = "FILE_ARRIVAL"
    TABLE = "TABLE"
    CONTINUOUS = "CONTINUOUS"


class TickOutcome(Word):
    """What became of an instant at which a job was due."""

    #: A run was made and may start.
    RUN = "RUN"
    #: A run was made and waits for a place among the concurrent runs of its job.
    QUEUED = "QUEUED"
    #: The job was at its limit; the run that says so never started.
    SKIPPED = "SKIPPED"
    #: There is no run; the reason says why.
    MISSED = "MISSED"


#: Which life-cycle state may follow which; the store refuses everything else.
LEGAL: dict[LifeCycle, frozenset[LifeCycle]] = {
    LifeCycle.QUEUED: frozenset(
        {LifeCycle.PENDING, LifeCycle.RUNNING, LifeCycle.SKIPPED, LifeCycle.TERMINATED, LifeCycle.INTERNAL_ERROR}
    ),
    LifeCycle.BLOCKED: frozenset(
        {LifeCycle.PENDING, LifeCycle.RUNNING, LifeCycle.TERMINATED, LifeCycle.INTERNAL_ERROR}
    ),
    LifeCycle.PENDING: frozenset({LifeCycle.RUNNING, LifeCycle.TERMINATED, LifeCycle.INTERNAL_ERROR}),
    LifeCycle.WAITING_FOR_RETRY: frozenset(
        {LifeCycle.PENDING, LifeCycle.RUNNING, LifeCycle.TERMINATED, LifeCycle.INTERNAL_ERROR}
    ),
    LifeCycle.RUNNING: frozenset({LifeCycle.TERMINATING, LifeCycle.TERMINATED, LifeCycle.INTERNAL_ERROR}),
    LifeCycle.TERMINATING: frozenset({LifeCycle.TERMINATED, LifeCycle.INTERNAL_ERROR}),
    LifeCycle.TERMINATED: frozenset(),
    LifeCycle.SKIPPED: frozenset(),
    LifeCycle.INTERNAL_ERROR: frozenset(),
}
