"""What a job is: frozen data read from a job file (docs/semantics.md, sections 1 to 7)."""

from __future__ import annotations

from typing import Any

import msgspec

from wfengine.states import RunIf

#: Kinds of task that the engine itself carries out (docs/semantics.md, section 6); no plugin can take their names.
CONTROL = frozenset({"condition", "for_each", "run_job"})


class Dependency(msgspec.Struct, frozen=True, omit_defaults=True):
    """An upstream task; ``outcome`` names the arm when the upstream is a condition."""

    task_key: str
    #: ``"true"`` or ``"false"``; None when the upstream is no condition.
    outcome: str | None = None


class Expectation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A statement about a table, checked after the attempt's writes (docs/semantics.md, section 10)."""

    name: str
    table: str = ""
    #: SQL predicate that every row of ``table`` must satisfy; null counts as not satisfied.
    where: str = ""
    #: SQL query that must return no row; instead of ``table`` and ``where``.
    query: str = ""
    on_fail: str = "fail"


class Task(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One node of a job's graph."""

    task_key: str
    #: Name of the layer plugin: ``notebook`` for ``notebook_task``.
    kind: str
    #: The ``<kind>_task`` mapping as written, references not yet filled in.
    config: dict[str, Any] = {}
    #: What a for_each runs once for each input; None for every other kind.
    nested: Task | None = None
    depends_on: tuple[Dependency, ...] = ()
    run_if: RunIf = RunIf.ALL_SUCCESS
    disabled: bool = False
    #: Seconds an attempt may take; 0 for no limit.
    timeout_seconds: int = 0
    #: Further attempts after the first; -1 for no limit.
    max_retries: int = 0
    #: From the start of the failed attempt to the start of the next.
    min_retry_interval_millis: int = 0
    retry_on_timeout: bool = False
    description: str = ""
    expect: tuple[Expectation, ...] = ()
    #: ``restore``: what a failed, timed-out or cancelled attempt wrote to tables is undone.
    on_failure: str = ""
    #: Tables that the task writes, for those that cannot be seen by themselves.
    outputs: tuple[str, ...] = ()
    #: Notification fields as written; notifier plugins read them.
    email_notifications: dict[str, Any] = {}
    webhook_notifications: dict[str, Any] = {}
    notification_settings: dict[str, Any] = {}
    health: dict[str, Any] = {}

    @property
    def upstreams(self) -> tuple[str, ...]:
        """Keys of the tasks this one waits for."""
        return tuple(dependency.task_key for dependency in self.depends_on)


class Parameter(msgspec.Struct, frozen=True):
    """A job parameter and its default, both text."""

    name: str
    default: str = ""


class Schedule(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """When a job is due; exactly one of the two expressions is set."""

    quartz_cron_expression: str = ""
    #: Five-field Unix cron expression.
    cron: str = ""
    timezone_id: str = "UTC"
    pause_status: str = "UNPAUSED"
    #: What becomes of ticks missed in a downtime: ``latest`` (the newest runs), ``all`` (at most 100) or ``none``.
    catch_up: str = "latest"


class Job(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole job as read from one file."""

    name: str
    tasks: tuple[Task, ...]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    #: Seconds the whole run may take; 0 for no limit.
    timeout_seconds: int = 0
    max_concurrent_runs: int = 1
    queue_enabled: bool = False
    schedule: Schedule | None = None
    #: ``trigger`` and ``continuous`` mappings as written, checked for their shape.
    trigger: dict[str, Any] = {}
    continuous: dict[str, Any] = {}
    email_notifications: dict[str, Any] = {}
    webhook_notifications: dict[str, Any] = {}
    notification_settings: dict[str, Any] = {}
    health: dict[str, Any] = {}
    #: Absolute path of the file; relative paths in the job start from its folder.
    path: str = ""
    #: The bundle that holds it, as an absolute path, and its key there; empty for a file of one job.
    bundle: str = ""
    key: str = ""
    #: Databricks fields that were accepted and have no effect here, each as ``tasks[0].libraries``.
    ignored: tuple[str, ...] = ()
    #: The patterns that chose these tasks from those of the file; empty when they are all of them.
    only: tuple[str, ...] = ()

    def task(self, key: str) -> Task:
        """Return the task of that key; KeyError when there is none."""
        for task in self.tasks:
            if task.task_key == key:
                return task
        raise KeyError(key)
