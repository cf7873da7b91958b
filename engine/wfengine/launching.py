"""What an attempt is started with: references filled in, upstream values gathered, a Spark server when it needs one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from wfengine import events, fingerprint, values
from wfengine.clock import Clock
from wfengine.errors import PluginError
from wfengine.executor import Executor, Launch
from wfengine.home import attempt_place
from wfengine.jobs import Expectation, Job, Task
from wfengine.layer import Layer
from wfengine.runs import Attempt, Fingerprint, JobRun, TaskIdentity
from wfengine.settings import Settings
from wfengine.states import Result
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

    def acquire(self) -> SparkEngine | None:
        """Return a live server, None where attempts get along without; raises WfengineError when none can be had."""
        ...


class Children(Protocol):
    """Starts the runs of run_job tasks and sees to them; the runner is told when one has ended."""

    def start(self, parent: JobRun, job: Job, task_run_id: int, config: Mapping[str, Any]) -> int:
        """Return the run that the attempt ``task_run_id`` asks for, which may be there already.

        ``job`` is the parent's and ``config`` that of the run_job task, filled in. Raises WfengineError when there is
        no such job, it cannot be run with these parameters, or jobs would start each other without end.
        """
        ...

    def cancel(self, run_id: int) -> None:
        """Cancel a child: the first call politely, the second at once."""
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
    #: Runs the jobs of run_job tasks.
    children: Children
    #: Folder of this run in the home.
    folder: Path
    #: Folders beyond the project that the command line allows to be read.
    allowed: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


class Work(NamedTuple):
    """An attempt that is to be started."""

    #: The task itself; for an iteration of a for_each the task inside it.
    task: Task
    attempt: Attempt
    #: The latest attempts of all tasks.
    attempts: Mapping[str, Attempt]
    #: Task values of those that have set any.
    values: Mapping[str, Mapping[str, Any]]
    #: Epoch milliseconds.
    run_started: int
    #: The element of the inputs that an iteration is for.
    input: Any = msgspec.UNSET


class Launcher:
    """Builds the launches of one run."""

    def __init__(self, job: Job, run: JobRun, means: Means) -> None:
        self._job, self._run, self._means = job, run, means

    def filled(self, work: Work) -> dict[str, Any]:
        """Return the config of a task with its references filled in; raises BadReferenceError."""
        return dict(values.fill(work.task.config, self._scope(work)))

    def launch(self, work: Work) -> tuple[Launch, SparkEngine | None]:
        """Return what starts an attempt, and the Spark server it uses.

        Raises WfengineError when a reference cannot be filled in, no plugin offers the kind of the task, or no Spark
        server can be had.
        """
        task, attempt = work.task, work.attempt
        layer = self._means.layers.get(task.kind)
        if layer is None:
            raise PluginError(f"no plugin offers {task.kind}_task any more: see wfengine plugins")
        scope = self._scope(work)
        config = values.fill(task.config, scope)
        expect = msgspec.convert(values.fill(msgspec.to_builtins(task.expect), scope), tuple[Expectation, ...])
        heavy = layer.needs_spark or bool(expect)
        server = self._means.spark.acquire() if heavy else None
        folder = f"{self._means.folder}/{attempt_place(*attempt.unit, attempt.attempt_number)}"
        base = os.path.dirname(self._job.path)
        spec = AttemptSpec(
            identity=self._identity(task, attempt),
            kind=task.kind,
            layer=f"{layer.__module__}:{layer.__qualname__}",
            config=config,
            parameters=dict(self._run.parameters),
            upstream_values={key: dict(found) for key, found in work.values.items()},
            expect=expect,
            base=base,
            root=str(self._means.settings.root),
            warehouse=str(self._means.settings.warehouse),
            folder=folder,
            allowed=self._means.allowed,
            spark_remote=server.url if server else "",
            outputs=tuple(values.fill(list(task.outputs), scope)),
            undo=self._failed_before(attempt) if task.on_failure == "restore" else (),
        )
        environ = dict(self._means.environ)
        if server:
            environ["SPARK_REMOTE"] = server.url
        launch = Launch(
            id=attempt.run_id,
            payload=msgspec.to_builtins(spec),
            log=Path(folder, "log"),
            log_limit=self._means.settings.log_limit,
            env=environ,
            cwd=Path(base),
            heavy=heavy,
        )
        return launch, server

    def _failed_before(self, attempt: Attempt) -> tuple[int, ...]:
        """Return the numbers of the earlier attempts but those that are known to have succeeded."""
        made = (*self._run.attempts, *self._run.iterations)
        good = {a.attempt_number for a in made if a.unit == attempt.unit and a.result is Result.SUCCESS}
        return tuple(number for number in range(attempt.attempt_number) if number not in good)

    def fingerprint(self, task: Task) -> Fingerprint:
        """Return what a task is made of now, for a repair to compare."""
        layer = self._means.layers.get((task.nested or task).kind)
        return fingerprint.of(task, layer, self._run.parameters, Path(self._job.path).parent)

    def _identity(self, task: Task, attempt: Attempt) -> TaskIdentity:
        return TaskIdentity(
            job_id=self._run.job_id,
            job_name=self._run.job_name,
            run_id=self._run.run_id,
            task_key=task.task_key,
            task_run_id=attempt.run_id,
            attempt_number=attempt.attempt_number,
            iteration=attempt.iteration,
            repair_count=self._run.repair_count,
            trigger_time=self._run.trigger_time,
        )

    def _scope(self, work: Work) -> values.Scope:
        task, attempt = work.task, work.attempt
        return values.Scope(
            job_id=self._run.job_id,
            job_name=self._run.job_name,
            run_id=self._run.run_id,
            repair_count=self._run.repair_count,
            start_time=work.run_started,
            trigger_type=str(self._run.trigger).lower(),
            trigger_time=self._run.trigger_time,
            parameters=self._run.parameters,
            task_key=task.task_key,
            task_run_id=attempt.run_id,
            attempt_number=attempt.attempt_number,
            notebook_path=str(task.config.get("notebook_path", "")),
            tasks=_referred(task, work.attempts),
            input=work.input,
            backfill=self._run.backfill,
        )


def _referred(task: Task, attempts: Mapping[str, Attempt]) -> dict[str, values.UpstreamScope]:
    """Return what references may read of ended tasks; most tasks name none, and then nothing is gathered."""
    named = values.references([task.config, msgspec.to_builtins(task.expect), list(task.outputs)])
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
