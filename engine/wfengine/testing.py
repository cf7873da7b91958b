"""For tests of job files and layers: a pytest plugin that comes with wfengine (docs/testing.md).

It is loaded into every test session, so it imports nothing of weight before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wfengine.app import Engine
    from wfengine.layer import Layer, TaskContext
    from wfengine.runs import JobRun, Tick
    from wfengine.simulation import Scene

#: When simulated time begins unless a test says otherwise.
START = "2026-01-01T00:00"


@pytest.fixture
def wfengine_engine(tmp_path: Path) -> Engine:
    """An engine whose home is a folder of this test alone; what it runs is run for real."""
    from wfengine.app import Engine

    return Engine(tmp_path / "wfengine-home")


@pytest.fixture
def wfengine_virtual() -> Iterator[Callable[..., Virtual]]:
    """Makes a `Virtual` of job files: ``wfengine_virtual("conf/job.yml", start="2026-03-28")``."""
    with ExitStack() as stack:

        def virtual(
            *files: str | Path, start: str = START, timezone: str = "UTC", max_tasks: int | None = None
        ) -> Virtual:
            from wfengine.app import Engine

            scene = Engine().scene(files, start=_instant(start, timezone), max_tasks=max_tasks)
            return stack.enter_context(Virtual(scene))

        yield virtual


class Virtual:
    """Job files in simulated time: schedules, retries, limits and outcomes are real, tasks only take time.

    A task succeeds after a minute unless the test says otherwise. It is named by its key, or as ``job/task`` when
    several jobs have one of that name. Unknown names raise UsageError with the name that was probably meant.
    """

    def __init__(self, scene: Scene) -> None:
        from wfengine.simulation import Simulation

        self._scene = scene
        self._simulation = Simulation(scene)

    def __enter__(self) -> Virtual:
        return self

    def __exit__(self, *raised: object) -> None:
        self._simulation.close()

    # -- what becomes of tasks ----------------------------------------------------------------------------------

    def fail(self, task: str, *, attempts: int | None = None, on: str | date | None = None, message: str = "") -> None:
        """Let a task fail: its first ``attempts`` attempts of each run, by default all of them.

        With ``on``, as ``2026-03-29``, only in runs that are due on that day in the time zone of the job's schedule.
        """
        day = date.fromisoformat(on) if isinstance(on, str) else on
        numbers = None if attempts is None else range(attempts)
        self._scene.script.fail(task, day=day, attempts=numbers, message=message)

    def succeed(self, task: str, *, output: Any = None, values: Mapping[str, Any] | None = None) -> None:
        """Let a task succeed, whatever ``fail`` said before, with this output and these task values."""
        self._scene.script.succeed(task, output=output, values=values)

    def duration(self, task: str, **time: float) -> None:
        """Let every attempt of a task take ``seconds``, ``minutes`` or whatever else `datetime.timedelta` takes."""
        self._scene.script.duration(task, round(timedelta(**time) / timedelta(milliseconds=1)))

    # -- time ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The simulated time, in UTC."""
        from wfengine.clock import to_utc

        return to_utc(self._simulation.now)

    def at(self, time: str, timezone: str = "UTC") -> None:
        """Let everything happen that happens before this time, as ``2026-03-29T02:30`` on the clocks of ``timezone``.

        A time that has passed changes nothing.
        """
        self._simulation.advance(_instant(time, timezone))

    def advance(self, **time: float) -> None:
        """Let ``days``, ``hours`` or whatever `datetime.timedelta` takes pass, with everything that happens in it."""
        self._simulation.advance(self._simulation.now + round(timedelta(**time) / timedelta(milliseconds=1)))

    # -- runs ---------------------------------------------------------------------------------------------------

    def run(self, job: str | None = None, *, parameters: Mapping[str, str] | None = None) -> JobRun:
        """Start a run by hand, let time pass until it has ended, and return it; ``job`` may be left out of one."""
        return self._simulation.run(self._name(job), parameters or {})

    def runs(self, job: str | None = None) -> list[JobRun]:
        """Return all runs so far, oldest first; of one job when it is named."""
        return self._simulation.runs(job)

    def ticks(self, job: str | None = None) -> list[Tick]:
        """Return what became of each instant at which a job was due, oldest first; of one job when it is named."""
        return self._simulation.ticks(job)

    @staticmethod
    def results(run: JobRun) -> dict[str, str]:
        """Return the result of each task of a run, of its last attempt: ``{"bronze": "SUCCESS"}``."""
        return {key: str(attempt.result or attempt.state) for key, attempt in run.latest().items()}

    def _name(self, job: str | None) -> str:
        if job is not None:
            return job
        if len(self._scene.jobs) == 1:
            return next(iter(self._scene.jobs))
        from wfengine.errors import UsageError, listed

        raise UsageError(f"say which job to run: {listed(sorted(self._scene.jobs), 10)}")


def task_context(
    layer: type[Layer[Any]],
    config: Mapping[str, Any],
    folder: Path,
    *,
    parameters: Mapping[str, str] | None = None,
    upstream_values: Mapping[str, Mapping[str, Any]] | None = None,
    task_key: str = "task",
    due: str = START,
    spark_remote: str = "",
) -> TaskContext[Any]:
    """Return what ``layer().run`` is given in a task with this ``config``, as a worker builds it.

    ``folder`` stands for the project, the folder of the job file and, below it, the warehouse; ``tmp_path`` does.
    ``parameters`` are those of the job. A layer that uses Spark needs the address of a Spark Connect server.
    Raises TaskFailed when the config does not fit the layer.
    """
    from wfengine.runs import TaskIdentity
    from wfengine.worker import AttemptSpec, context_of

    identity = TaskIdentity(
        job_id=1, job_name="job", run_id=1, task_key=task_key, task_run_id=2, trigger_time=_instant(due, "UTC")
    )
    spec = AttemptSpec(
        identity=identity,
        kind=layer.name,
        layer=f"{layer.__module__}:{layer.__qualname__}",
        config=dict(config),
        parameters=dict(parameters or {}),
        upstream_values={key: dict(values) for key, values in (upstream_values or {}).items()},
        base=str(folder),
        root=str(folder),
        warehouse=str(folder / "warehouse"),
        folder=str(folder / ".wfengine" / "attempt"),
        spark_remote=spark_remote,
    )
    return context_of(spec, layer, lambda message: None)


def _instant(time: str, timezone: str) -> int:
    """Return the epoch milliseconds of an ISO time, which is one of ``timezone`` when it names no offset."""
    from wfengine.schedule import Zone

    return Zone(timezone).moment(time) * 1000
