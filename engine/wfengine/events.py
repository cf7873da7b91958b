"""What happened, told once: frozen events with a stable JSON form (field ``kind`` names the class)."""

from __future__ import annotations

import re

import msgspec

from wfengine.runs import ErrorInfo, Facts
from wfengine.states import Result, Trigger


def _kind(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="kind", tag=_kind):
    """What every event says; version 1 of the form: fields may be added, never changed or removed."""

    #: Epoch milliseconds.
    time: int
    run_id: int
    job_id: int
    job_name: str


class RunQueued(Event, frozen=True, kw_only=True):
    """A run was accepted and stored."""

    trigger: Trigger = Trigger.ONE_TIME


class RunRepaired(Event, frozen=True, kw_only=True):
    """A run that had ended was opened again, to execute some of its tasks once more."""

    #: 1 for the first repair of the run.
    repair_count: int
    #: The tasks asked for, in the order of the job file.
    task_keys: tuple[str, ...] = ()


class RunStarted(Event, frozen=True, kw_only=True):
    """A run began to execute."""

    parameters: dict[str, str] = {}


class RunEnded(Event, frozen=True, kw_only=True):
    """A run reached its end."""

    result: Result
    message: str = ""
    duration_ms: int = 0
    #: Tasks that failed, were cancelled or timed out themselves, in the order of the job file.
    failed_tasks: tuple[str, ...] = ()
    #: Tasks that did not run because of these.
    blocked_tasks: tuple[str, ...] = ()


class TaskStarted(Event, frozen=True, kw_only=True):
    """An attempt's process was asked for."""

    task_key: str
    task_run_id: int
    attempt_number: int = 0
    #: Which iteration of a for_each it is about, from 0; -1 for the task itself.
    iteration: int = -1
    #: How many iterations a for_each has.
    iterations: int = 0


class TaskRetrying(Event, frozen=True, kw_only=True):
    """An attempt failed and another will follow."""

    task_key: str
    task_run_id: int
    attempt_number: int
    result: Result
    error: ErrorInfo | None = None
    #: Epoch milliseconds before which the next attempt does not start.
    next_attempt_at: int = 0
    #: Which iteration of a for_each it is about, from 0; -1 for the task itself.
    iteration: int = -1


class TaskEnded(Event, frozen=True, kw_only=True):
    """A task's last attempt ended after it had run."""

    task_key: str
    task_run_id: int
    attempt_number: int
    result: Result
    message: str = ""
    duration_ms: int = 0
    error: ErrorInfo | None = None
    facts: Facts = Facts()
    #: Which iteration of a for_each it is about, from 0; -1 for the task itself.
    iteration: int = -1


class TaskSkipped(Event, frozen=True, kw_only=True):
    """A task ended without being executed; the message names the rule and the upstream."""

    task_key: str
    task_run_id: int
    result: Result
    message: str = ""
    #: Which iteration of a for_each it is about, from 0; -1 for the task itself.
    iteration: int = -1


class TickMissed(Event, frozen=True, kw_only=True):
    """A job was due and there is no run of it; the reason says why."""

    #: 0: it is about a job and none of its runs.
    run_id: int = 0
    #: Epoch milliseconds of the first instant missed, and of the last.
    due: int
    through: int
    #: How many instants were missed.
    count: int = 1
    reason: str = ""


AnyEvent = (
    RunQueued | RunRepaired | RunStarted | RunEnded | TaskStarted | TaskRetrying | TaskEnded | TaskSkipped | TickMissed
)

#: Every kind of event, for documentation and decoding.
KINDS: tuple[type[Event], ...] = (
    RunQueued, RunRepaired, RunStarted, RunEnded, TaskStarted, TaskRetrying, TaskEnded, TaskSkipped, TickMissed,
)  # fmt: skip


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to one plugin."""

    #: The same on every repetition of this delivery; plugins use it to recognise duplicates.
    delivery_id: str
    #: 0 for the first try.
    attempt: int
    event: AnyEvent
