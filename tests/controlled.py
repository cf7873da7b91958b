"""Runs jobs with control tasks on a real store and a real fleet, whose attempts are answered instead of executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from wfengine import settings
from wfengine.executor import Launch, Report
from wfengine.fleet import Fleet
from wfengine.jobs import Dependency, Job, Task
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine.runs import JobRun
from wfengine.simulation.executor import VirtualClock
from wfengine.states import Trigger
from wfengine.store import Store


class EchoConfig(msgspec.Struct):
    text: str = ""


class Echo(Layer[EchoConfig]):
    """Stands for every kind of task that has a process."""

    name = "echo"
    Config = EchoConfig

    def run(self, context: TaskContext[EchoConfig]) -> TaskResult:
        raise NotImplementedError


class NoSpark:
    def acquire(self) -> None:
        return None


#: Given the payload of an attempt, returns its record, or None to let it go on.
Answer = Callable[[dict[str, Any]], "dict[str, Any] | None"]


def succeed(payload: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success"}


def failure(message: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"message": message}}


class Answering:
    """An executor whose attempts end as ``answer`` says, at the next poll."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.alive: dict[int, dict[str, Any]] = {}
        self.started: list[dict[str, Any]] = []
        self.most = 0
        self._reports: list[Report] = []

    def start(self, launch: Launch) -> None:
        self.alive[launch.id] = launch.payload
        self.started.append(launch.payload)
        self.most = max(self.most, len(self.alive))

    def stop(self, id: int, grace: float) -> None:  # noqa: A002
        if self.alive.pop(id, None) is not None:
            self._reports.append(Report(id=id, kind="ended", signal=15, cause="stopped"))

    def kill(self, id: int) -> None:  # noqa: A002
        self.stop(id, 0)

    def poll(self, timeout: float | None) -> list[Report]:
        for number, payload in list(self.alive.items()):
            record = self.answer(payload)
            if record is not None:
                del self.alive[number]
                self._reports.append(Report(id=number, kind="ended", exit_code=0, record=record))
        reports, self._reports = self._reports, []
        return reports

    def wake(self) -> None:
        pass

    def close(self) -> None:
        self.alive.clear()


class World:
    """One home and whoever executes its runs."""

    def __init__(self, home: Path, jobs: tuple[Job, ...] = (), answer: Answer = succeed, max_tasks: int = 1000) -> None:
        self.clock = VirtualClock(1_000_000)
        self.home, self.jobs = home, {job.name: job for job in jobs}
        self.store = Store.open(home, self.clock)
        self.events: list[Any] = []
        self._settings = msgspec.structs.replace(settings.load(home, home), max_tasks=max_tasks)
        self.restart(answer)

    def restart(self, answer: Answer = succeed) -> None:
        """Go on as another engine does after this one died."""
        if hasattr(self, "fleet"):
            self.fleet.close()
        self.executor = Answering(answer)
        self.fleet = Fleet(
            store=self.store,
            settings=self._settings,
            layers=lambda: {"echo": Echo},
            subscribers=(),
            executor=self.executor,
            spark=NoSpark(),
            clock=self.clock,
            committed=self.events.extend,
            find=lambda job, name: self.jobs[name],
            by="daemon",
        )

    def begin(self, job: Job, parameters: dict[str, str] | None = None) -> int:
        run, _ = self.store.create_run(
            job,
            parameters=lambda job_id, run_id: parameters or {},
            trigger=Trigger.ONE_TIME,
            trigger_time=self.clock.now_ms(),
            by="daemon",
        )
        self.fleet.take_up(run.run_id)
        return run.run_id

    def turn(self) -> None:
        self.fleet.turn(self.executor.poll(0))

    def finish(self, run_id: int) -> JobRun:
        for _ in range(20_000):
            if run_id not in self.fleet:
                break
            self.turn()
            wait = self.fleet.patience()
            self.clock.move(self.clock.now_ms() + (1 if wait is None else max(1, round(wait * 1000))))
        assert run_id not in self.fleet, "the run does not end"
        return self.store.run(run_id)

    def run(self, job: Job, parameters: dict[str, str] | None = None) -> JobRun:
        return self.finish(self.begin(job, parameters))


def echo(key: str, *depends_on: str, text: str = "", **fields: Any) -> Task:
    return Task(task_key=key, kind="echo", config={"text": text}, depends_on=dependencies(depends_on), **fields)


def condition(key: str, op: str, left: str, right: str, *depends_on: str, **fields: Any) -> Task:
    config = {"op": op, "left": left, "right": right}
    return Task(task_key=key, kind="condition", config=config, depends_on=dependencies(depends_on), **fields)


def for_each(key: str, inputs: Any, nested: Task, concurrency: int = 1, **fields: Any) -> Task:
    config = {"inputs": inputs, "concurrency": concurrency}
    return Task(task_key=key, kind="for_each", config=config, nested=nested, **fields)


def run_job(key: str, name: str, *depends_on: str, **fields: Any) -> Task:
    config = {"job_name": name, "job_parameters": fields.pop("job_parameters", {})}
    return Task(task_key=key, kind="run_job", config=config, depends_on=dependencies(depends_on), **fields)


def dependencies(words: tuple[str, ...]) -> tuple[Dependency, ...]:
    """Read ``a`` and ``c=true``."""
    return tuple(Dependency(key, outcome or None) for key, _, outcome in (word.partition("=") for word in words))


def job(*tasks: Task, name: str = "j", **fields: Any) -> Job:
    return Job(name=name, tasks=tasks, path="/project/job.yml", **fields)


def results(run: JobRun) -> dict[str, str]:
    return {key: str(attempt.result) for key, attempt in run.latest().items()}


def iterations(run: JobRun, key: str) -> Counter[str]:
    return Counter(str(attempt.result) for attempt in run.iterated(key))
