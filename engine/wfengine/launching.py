"""What an attempt is started with: references filled in, upstream values gathered, a Spark server when it needs one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from wfengine import events, values
from wfengine.clock import Clock
from wfengine.executor import Executor, Launch
from wfengine.jobs import Expectation, Job, Task
from wfengine.layer import Layer
from wfengine.runs import Attempt, JobRun, TaskIdentity
from wfengine.settings import Settings
from wfengine.store import Tx
from wfengine.worker import AttemptSpec


class SparkEngine(Protocol):
    """The Spark server that attempts share; see ``sparkserver``."""

    url: str

    def alive(self) -> bool:
        """Whether the server's process is there."""
        ...

    def exit_cause(self) -> str:
        """How it ended, in words."""
        ...


class SparkEngines(Protocol):
    """Gives a live Spark server, starting one when there is none or the last one died."""

    def acquire(self) -> SparkEngine:
        """Return a live server; raises WfengineError when none can be had."""
        ...


class Slots:
    """Counts the tasks that run at the same time, over all runs that share it."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    def take(self) -> bool:
        """Occupy a slot; False when all are occupied."""
        if self._free < 1:
            return False
        self._free -= 1
        return True

    def give(self) -> None:
        """Set a slot free."""
        self._free += 1


@dataclass
class Means:
    """What a runner works with; everything that touches the world comes in here."""

    settings: Settings
    layers: Mapping[str, type[Layer[Any]]]
    executor: Executor
    slots: Slots
    spark: SparkEngines
    clock: Clock
    #: Opens a transaction on this run.
    transaction: Callable[[], AbstractContextManager[Tx]]
    #: Told of the events of each transaction after its commit.
    committed: Callable[[list[events.AnyEvent]], None]
    #: Told what a running attempt reports: task key and message.
    progressed: Callable[[str, dict[str, Any]], None]
    #: Folder of this run in the home.
    folder: Path
    #: Folders beyond the project that the command line allows to be read.
    allowed: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


class Launcher:
    """Builds the launches of one run."""

    def __init__(self, job: Job, run: JobRun, means: Means) -> None:
        self._job, self._run, self._means = job, run, means

    def launch(
        self, task: Task, attempt: Attempt, attempts: Mapping[str, Attempt], run_started: int
    ) -> tuple[Launch, SparkEngine | None]:
        """Return what starts ``attempt`` of ``task``, and the Spark server it uses.

        ``attempts`` are the latest of all tasks, ``run_started`` is in epoch milliseconds. Raises WfengineError when a
        reference cannot be filled in or no Spark server can be had.
        """
        layer = self._means.layers[task.kind]
        scope = self._scope(task, attempt, attempts, run_started)
        config = values.fill(task.config, scope)
        expect = msgspec.convert(values.fill(msgspec.to_builtins(task.expect), scope), tuple[Expectation, ...])
        heavy = layer.needs_spark or bool(expect)
        server = self._means.spark.acquire() if heavy else None
        folder = self._means.folder / "tasks" / task.task_key / str(attempt.attempt_number)
        base = Path(self._job.path).parent
        spec = AttemptSpec(
            identity=self._identity(task, attempt),
            kind=task.kind,
            layer=f"{layer.__module__}:{layer.__qualname__}",
            config=config,
            parameters=dict(self._run.parameters),
            upstream_values={key: dict(a.values) for key, a in attempts.items() if a.values},
            expect=expect,
            base=str(base),
            root=str(self._means.settings.root),
            warehouse=str(self._means.settings.warehouse),
            folder=str(folder),
            allowed=self._means.allowed,
            spark_remote=server.url if server else "",
        )
        environ = dict(self._means.environ)
        if server:
            environ["SPARK_REMOTE"] = server.url
        launch = Launch(
            id=attempt.run_id,
            payload=msgspec.to_builtins(spec),
            log=folder / "log",
            log_limit=self._means.settings.log_limit,
            env=environ,
            cwd=base,
            heavy=heavy,
        )
        return launch, server

    def _identity(self, task: Task, attempt: Attempt) -> TaskIdentity:
        return TaskIdentity(
            job_id=self._run.job_id,
            job_name=self._run.job_name,
            run_id=self._run.run_id,
            task_key=task.task_key,
            task_run_id=attempt.run_id,
            attempt_number=attempt.attempt_number,
            repair_count=self._run.repair_count,
            trigger_time=self._run.trigger_time,
        )

    def _scope(self, task: Task, attempt: Attempt, attempts: Mapping[str, Attempt], run_started: int) -> values.Scope:
        return values.Scope(
            job_id=self._run.job_id,
            job_name=self._run.job_name,
            run_id=self._run.run_id,
            repair_count=self._run.repair_count,
            start_time=run_started,
            trigger_type=str(self._run.trigger).lower(),
            trigger_time=self._run.trigger_time,
            parameters=self._run.parameters,
            task_key=task.task_key,
            task_run_id=attempt.run_id,
            attempt_number=attempt.attempt_number,
            notebook_path=str(task.config.get("notebook_path", "")),
            tasks=_referred(task, attempts),
        )


def _referred(task: Task, attempts: Mapping[str, Attempt]) -> dict[str, values.UpstreamScope]:
    """Return what references may read of ended tasks; most tasks name none, and then nothing is gathered."""
    named = values.references([task.config, msgspec.to_builtins(task.expect)])
    if not any(name.startswith("tasks.") for name in named):
        return {}
    return {key: _upstream(attempt) for key, attempt in attempts.items() if attempt.state.ended}


def _upstream(attempt: Attempt) -> values.UpstreamScope:
    return values.UpstreamScope(
        run_id=attempt.run_id,
        result_state=str(attempt.result or "").lower(),
        error_code=attempt.error.code if attempt.error else "",
        execution_count=attempt.attempt_number + 1,
        values=attempt.values,
        output=attempt.output,
    )
