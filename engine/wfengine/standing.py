"""Where the tasks and iterations of a run stand: known here at once, stored with the next commit of its journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from wfengine import events
from wfengine.clock import Clock
from wfengine.jobs import Job
from wfengine.journal import Journal
from wfengine.plan import TaskState
from wfengine.runs import Attempt, ErrorInfo, Facts, Fingerprint, JobRun, Unit
from wfengine.states import LifeCycle, Result
from wfengine.store import Tx


class Standing:
    """The last attempts of one run; each change of them is stored and told as one."""

    def __init__(self, job: Job, run: JobRun, journal: Journal, clock: Clock) -> None:
        self._run, self._journal, self._clock = run, journal, clock
        known = {task.task_key for task in job.tasks}
        #: The last attempt of each task, and of each iteration of a for_each.
        self.tasks: dict[str, Attempt] = {key: a for key, a in run.latest().items() if key in known}
        self.iterations: dict[Unit, Attempt] = {a.unit: a for a in run.iterations if a.task_key in known}
        #: Task values by task, for the tasks that have set any.
        self.values: dict[str, Mapping[str, Any]] = {key: a.values for key, a in self.tasks.items() if a.values}
        #: What the plan decides from.
        self.states = {key: TaskState(a.state, a.result, a.outcome) for key, a in self.tasks.items()}

    def attempt(self, unit: Unit) -> Attempt:
        """Return the last attempt of a task or an iteration."""
        return self.tasks[unit[0]] if unit[1] < 0 else self.iterations[unit]

    def iterated(self, key: str) -> dict[int, Attempt]:
        """Return the last attempt of each iteration of a for_each, by its number."""
        return {number: attempt for (task, number), attempt in self.iterations.items() if task == key}

    def who(self) -> dict[str, Any]:
        """Return what every event says about the run."""
        return {"run_id": self._run.run_id, "job_id": self._run.job_id, "job_name": self._run.job_name}

    def become(self, unit: Unit, state: LifeCycle, **changes: Any) -> None:
        """Move an attempt to another state."""
        attempt = self.attempt(unit)
        before = attempt.state
        if state is before and not changes:
            return
        self._keep(msgspec.structs.replace(attempt, state=state, **changes))
        # The id of a retry that could not be stored yet exists only once it is.
        self._journal.do(
            lambda tx: tx.attempt(attempt.run_id or self.attempt(unit).run_id, before, state=state, **changes)
        )

    def begin(self, unit: Unit, resolved: Mapping[str, Any], made_of: Fingerprint, iterations: int = 0) -> int:
        """Let an attempt run; returns the time, in epoch milliseconds."""
        now = self._clock.now_ms()
        changes = {"start_time": now, "fingerprint": made_of, **({"resolved": resolved} if resolved else {})}
        self.become(unit, LifeCycle.RUNNING, **changes)
        self._journal.tell(events.TaskStarted(iterations=iterations, **self._which(unit, now)))
        return now

    def skip(self, unit: Unit, result: Result, message: str) -> None:
        """End what was not executed."""
        now = self._clock.now_ms()
        self.become(unit, LifeCycle.TERMINATED, result=result, message=message, end_time=now)
        which = self._which(unit, now)
        del which["attempt_number"]
        self._journal.tell(events.TaskSkipped(result=result, message=message, **which))

    def end(
        self, unit: Unit, state: LifeCycle, result: Result, error: ErrorInfo | None, record: Mapping[str, Any]
    ) -> events.TaskEnded:
        """Store the end of an attempt and return the event for it, which is told if no other attempt follows."""
        now = self._clock.now_ms()
        facts = facts_of(record)
        message = error.message if error else record.get("message", "")
        self.become(
            unit,
            state,
            result=result,
            message=message,
            end_time=now,
            error=error,
            facts=facts,
            output=record.get("output"),
            values=record.get("values", {}),
            **({"outcome": record["outcome"]} if record.get("outcome") else {}),
        )
        started = self.attempt(unit).start_time or now
        return events.TaskEnded(
            result=result,
            message=message,
            duration_ms=now - started,
            error=error,
            facts=facts,
            **self._which(unit, now),
        )

    def retry(self, ended: events.TaskEnded, at: int) -> None:
        """Add the attempt that follows the ``ended`` one and may start at the time ``at``, in epoch milliseconds."""
        unit = (ended.task_key, ended.iteration)
        waiting = LifeCycle.WAITING_FOR_RETRY
        self._journal.tell(
            events.TaskRetrying(
                result=ended.result, error=ended.error, next_attempt_at=at, **self._which(unit, ended.time)
            )
        )
        number = ended.attempt_number + 1
        self._keep(
            Attempt(run_id=0, task_key=unit[0], iteration=unit[1], attempt_number=number, state=waiting, not_before=at)
        )

        def add(tx: Tx) -> None:
            made = tx.add_attempt(unit[0], number, waiting, at, iteration=unit[1])
            self._keep(msgspec.structs.replace(self.attempt(unit), run_id=made))

        self._journal.do(add)
        # Its id is given by the store, so it is stored before anything else can happen to it.
        self._journal.commit()

    def iterate(self, key: str, count: int, kept: Collection[int]) -> None:
        """Add an attempt of each of the ``count`` iterations of a for_each but for those ``kept``."""
        before = self.iterated(key)
        numbers = {n: before[n].attempt_number + 1 if n in before else 0 for n in range(count) if n not in kept}
        for number, attempt_number in numbers.items():
            self._keep(Attempt(run_id=0, task_key=key, iteration=number, attempt_number=attempt_number))

        def add(tx: Tx) -> None:
            first = tx.add_iterations(key, numbers)
            for index, number in enumerate(numbers):
                self._keep(msgspec.structs.replace(self.iterations[key, number], run_id=first + index))

        self._journal.do(add)
        self._journal.commit()

    def _keep(self, attempt: Attempt) -> None:
        if attempt.iteration < 0:
            self.tasks[attempt.task_key] = attempt
            self.states[attempt.task_key] = TaskState(attempt.state, attempt.result, attempt.outcome)
            if attempt.values:
                self.values[attempt.task_key] = attempt.values
        else:
            self.iterations[attempt.unit] = attempt

    def _which(self, unit: Unit, now: int) -> dict[str, Any]:
        attempt = self.attempt(unit)
        return {
            "time": now,
            "task_key": attempt.task_key,
            "task_run_id": attempt.run_id,
            "attempt_number": attempt.attempt_number,
            "iteration": attempt.iteration,
            **self.who(),
        }


def facts_of(record: Mapping[str, Any]) -> Facts:
    """Read the counts of a completion record; what user code wrote in its place counts for nothing."""
    try:
        return msgspec.convert(record.get("facts", {}), Facts)
    except msgspec.ValidationError:
        return Facts(warnings=("the attempt reported counts that cannot be read",))
