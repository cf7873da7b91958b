"""Control tasks under way: conditions, the loops of for_eachs, and run_job tasks that wait for their runs.

None of them has a process of its own; what they do belongs to the run's one thread, as everything the runner does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from wfengine import conditions
from wfengine.errors import TaskFailed, WfengineError
from wfengine.executor import Launch
from wfengine.jobs import Job, Task
from wfengine.launching import Children, SparkEngine
from wfengine.loops import Loop, inputs_of
from wfengine.runs import ErrorInfo, Facts, Fingerprint, JobRun, Unit
from wfengine.standing import Standing
from wfengine.states import LifeCycle, Result

#: Why an attempt failed that nobody saw the end of.
ENGINE_DIED = ErrorInfo(message="the engine's process died while this attempt ran", code="EngineDied")
#: Life-cycle states of what was going when its engine died.
GOING = (LifeCycle.RUNNING, LifeCycle.TERMINATING)


@dataclass
class Live:
    """An attempt that is under way: its process is alive or asked for, or it is a loop, or it waits for a run."""

    task: Task
    unit: Unit
    #: The attempt's own id.
    id: int
    number: int
    #: Epoch milliseconds.
    started: int
    #: On the monotonic clock.
    deadline: float | None
    server: SparkEngine | None = None
    loop: Loop | None = None
    #: The run of a run_job task, and what it was asked for with.
    child: int | None = None
    config: Mapping[str, Any] | None = None
    #: Set once it is being stopped: how it will end, and why.
    stopped: tuple[Result, ErrorInfo] | None = None
    #: What its process was started with.
    launch: Launch | None = None
    #: Set while its writes are undone: how it ended, and its record.
    ended: tuple[Result, ErrorInfo | None, Mapping[str, Any]] | None = None


class Host(Protocol):
    """What control tasks ask of the runner."""

    def queue(self, unit: Unit) -> None:
        """Let a task or an iteration start as soon as it may."""
        ...

    def end(self, live: Live, result: Result, error: ErrorInfo | None, record: Mapping[str, Any]) -> None:
        """Store an attempt's end, then retry or let the plan go on."""
        ...

    def stop(self, live: Live, result: Result, error: ErrorInfo, grace: float | None = None) -> None:
        """Stop an attempt within ``grace`` seconds, None for the usual time; it ends as ``result``."""
        ...

    def under_way(self, unit: Unit) -> Live | None:
        """Return the attempt of a task or an iteration that is under way."""
        ...

    def made_of(self, task: Task) -> Fingerprint:
        """Return what a task is made of now."""
        ...

    def forget(self, unit: Unit) -> None:
        """Start no attempt of a task or an iteration that has not begun."""
        ...


def prepared(task: Task, config: dict[str, Any]) -> dict[str, Any]:
    """Return the filled config of a control task with the inputs of a for_each as a list; raises TaskFailed."""
    return {**config, "inputs": inputs_of(config.get("inputs"))} if task.kind == "for_each" else config


class ControlTasks:
    """The control tasks of one run."""

    def __init__(self, host: Host, job: Job, run: JobRun, standing: Standing, children: Children) -> None:
        self._host, self._job, self._run = host, job, run
        self._standing, self._children = standing, children
        #: Loops, and run_job tasks with their runs.
        self.held: dict[Unit, Live] = {}
        self._births: list[Live] = []

    def start(self, live: Live, config: Mapping[str, Any]) -> None:
        """Carry out a condition, begin a loop, or ask for the run of a run_job; ``config`` is ``prepared``."""
        if live.task.kind == "condition":
            self._decide(live, config)
        elif live.task.kind == "for_each":
            self._iterate(live, config)
        else:
            live.config = config
            self.held[live.unit] = live
            self._births.append(live)

    def _decide(self, live: Live, config: Mapping[str, Any]) -> None:
        op, left, right = (str(config.get(name, "")) for name in ("op", "left", "right"))
        try:
            outcome = str(conditions.holds(op, left, right)).lower()
        except TaskFailed as error:
            self._host.end(live, Result.FAILED, ErrorInfo(message=str(error)), {})
            return
        message = f"{left!r} {op} {right!r} is {outcome}"
        self._host.end(live, Result.SUCCESS, None, {"outcome": outcome, "message": message})

    # -- loops --------------------------------------------------------------------------------------------------

    def _iterate(self, live: Live, config: Mapping[str, Any]) -> None:
        inputs = config["inputs"]
        if not inputs:
            facts = Facts(warnings=("there were no inputs, so nothing was done",))
            self._host.end(live, Result.SUCCESS, None, {"facts": facts, "message": "no inputs"})
            return
        live.loop = Loop(inputs, int(config.get("concurrency", 1)))
        self.held[live.unit] = live
        kept = self._kept(live, inputs, self._host.made_of(live.task.nested or live.task))
        live.loop.resume(dict.fromkeys(kept, Result.SUCCESS), ())
        self._standing.iterate(live.unit[0], len(inputs), kept)
        self._go_on(live)

    def _kept(self, live: Live, inputs: list[Any], made_of: Fingerprint) -> list[int]:
        """Return the iterations that a repair leaves alone: they succeeded with the same input, code and parameters.

        When all of them had succeeded, whoever repairs the task all the same wants all of them again.
        """
        key = live.unit[0]
        former = [a for a in self._run.attempts if a.task_key == key and a.run_id < live.id and a.resolved]
        if not former or former[-1].result is Result.SUCCESS:
            return []
        before = former[-1].resolved.get("inputs", [])
        return [
            number
            for number, attempt in sorted(self._standing.iterated(key).items())
            if attempt.result is Result.SUCCESS
            and attempt.fingerprint == made_of
            and inputs[number : number + 1] == before[number : number + 1] != []
        ]

    def resume(self, live: Live) -> None:
        """Take up a loop that a former engine began; ``settle`` goes on with it."""
        attempt = self._standing.attempt(live.unit)
        live.loop = Loop(attempt.resolved["inputs"], int(attempt.resolved.get("concurrency", 1)))
        iterated = {n: a for n, a in self._standing.iterated(live.unit[0]).items() if n < len(live.loop.inputs)}
        ended = {number: a.result or Result.FAILED for number, a in iterated.items() if a.state.ended}
        live.loop.resume(ended, [n for n, a in iterated.items() if a.state in (*GOING, LifeCycle.WAITING_FOR_RETRY)])
        self.held[live.unit] = live
        if attempt.state is LifeCycle.TERMINATING:
            live.stopped = (Result.FAILED, ENGINE_DIED)

    def settle(self) -> None:
        """Go on with the loops that were taken up, once their iterations were."""
        for live in list(self.held.values()):
            if live.loop and live.stopped:
                self.stop(live, 0)
            elif live.loop:
                self._go_on(live)

    def iterated(self, unit: Unit, result: Result) -> None:
        """Let a loop go on after the last attempt of one of its iterations."""
        live = self.held.get((unit[0], -1))
        if live and live.loop:
            live.loop.end(unit[1], result)
            self._go_on(live)

    def _go_on(self, live: Live) -> None:
        loop = live.loop
        if loop is None or self.held.get(live.unit) is not live:
            return
        if not live.stopped:
            for number in loop.next():
                self._host.queue((live.unit[0], number))
        if loop.done:
            del self.held[live.unit]
            result, message = loop.verdict()
            error = ErrorInfo(message=message, code="IterationFailed") if result is not Result.SUCCESS else None
            if live.stopped and result is not Result.SUCCESS:
                result, error = live.stopped
            self._host.end(live, result, error, {"message": message})

    # -- runs of other jobs -------------------------------------------------------------------------------------

    def bear(self) -> bool:
        """Ask for the runs of the run_job tasks whose start is stored by now; whether there was one."""
        births, self._births = self._births, []
        for live in births:
            if live.stopped:
                del self.held[live.unit]
                self._host.end(live, *live.stopped, {})
                continue
            try:
                live.child = self._children.start(self._run, self._job, live.id, live.config or {})
            except WfengineError as error:
                del self.held[live.unit]
                code = "UserError" if isinstance(error, TaskFailed) else "ConfigError"
                self._host.end(live, Result.FAILED, ErrorInfo(message=str(error), code=code), {})
        return bool(births)

    def child_ended(self, child: JobRun, trouble: str = "") -> None:
        """Let a run_job task end as its run did; ``trouble`` says why that could not go on, when it has not ended."""
        live = next((live for live in self.held.values() if live.child == child.run_id), None)
        if live is None:
            return
        del self.held[live.unit]
        result = Result.SUCCESS if child.succeeded else Result.FAILED
        if child.result is Result.CANCELED:
            result = Result.CANCELED
        causes = [a.error.message.split("\n")[0] for a in child.latest().values() if a.error]
        words = [f"ended {child.result or child.state}", child.message, *([] if child.succeeded else causes[:1])]
        said = trouble or ": ".join(word for word in words if word)
        message = f"run {child.run_id} of job {child.job_name} {said}"
        error = None if result is Result.SUCCESS else ErrorInfo(message=message, code="RunJobFailed")
        if live.stopped and result is not Result.SUCCESS:
            result, error = live.stopped
        output = {
            "run_id": child.run_id,
            "job_id": child.job_id,
            "job_name": child.job_name,
            "result_state": str(child.result or ""),
        }
        self._host.end(live, result, error, {"message": message, "output": output})

    # -- stopping -----------------------------------------------------------------------------------------------

    def stop(self, live: Live, grace: float | None) -> None:
        """Stop what a control task has going; it ends when that has."""
        if live.loop is None:
            if live.child is not None:
                self._children.cancel(live.child)
            return
        key = live.unit[0]
        error = ErrorInfo(message="the for_each around it was stopped", code="Cancelled")
        for number in live.loop.drop():
            self._standing.skip((key, number), Result.CANCELED, error.message)
        for number in live.loop.going:
            self._stop_iteration((key, number), live.loop, error, grace)
        self._go_on(live)

    def _stop_iteration(self, unit: Unit, loop: Loop, error: ErrorInfo, grace: float | None) -> None:
        live = self._host.under_way(unit)
        if live:
            self._host.stop(live, Result.CANCELED, error, grace)
        else:
            self._host.forget(unit)
            self._standing.skip(unit, Result.CANCELED, error.message)
            loop.end(unit[1], Result.CANCELED)
