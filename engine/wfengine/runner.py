"""One run to its end: asks the plan what may start, starts it, and stores what became of it.

The runner decides nothing about states (``plan`` does) and touches no process itself (the executor does). Each turn of
its loop takes what was reported, stores every change of that turn in one transaction, and only then starts processes:
an attempt is on disk as RUNNING before its process exists.
"""

from __future__ import annotations

import heapq
import shutil
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from wfengine import events, plan
from wfengine.errors import WfengineError
from wfengine.executor import Launch, Report, ending
from wfengine.graph import Graph, build
from wfengine.jobs import Job, Task
from wfengine.journal import Journal
from wfengine.launching import Launcher, Means, SparkEngine
from wfengine.runs import Attempt, ErrorInfo, Facts, JobRun
from wfengine.states import LifeCycle, Result
from wfengine.store import Tx

#: How often a commit is tried again that found the disk full.
FULL_DISK_SECONDS = 1.0
#: Code of an attempt that was stopped because its engine was, and will be repeated.
DRAINED = "Drained"
#: Why an attempt failed that nobody saw the end of.
ENGINE_DIED = ErrorInfo(message="the engine's process died while this attempt ran", code="EngineDied")
#: Longest wait of the loop while a Spark server is in use, so that its death is seen within a second.
SERVER_CHECK_SECONDS = 1.0


@dataclass
class _Live:
    """An attempt whose process is alive or asked for."""

    task: Task
    id: int
    number: int
    started: int
    deadline: float | None
    server: SparkEngine | None = None
    #: Set once it is being stopped: how it will end, and why.
    stopped: tuple[Result, ErrorInfo] | None = None


class Runner:
    """Executes one stored run; ``cancel`` may be called from a signal handler or another thread."""

    def __init__(self, job: Job, run: JobRun, means: Means) -> None:
        self._job, self._run, self._means = job, run, means
        self._graph: Graph = build(job.tasks)
        self._tasks = {task.task_key: task for task in job.tasks}
        self._attempts: dict[str, Attempt] = run.latest()
        self._states = {key: plan.TaskState(a.state, a.result, a.outcome) for key, a in self._attempts.items()}
        #: Tasks that may start, in order; a dict, so that none is there twice.
        self._ready: dict[str, None] = {}
        self._waiting: list[tuple[int, str]] = []
        self._live: dict[int, _Live] = {}
        self._launcher = Launcher(job, run, means)
        self._journal = Journal(means.transaction, means.committed)
        self._launches: list[Launch] = []
        self._started_at = 0
        self._deadline: float | None = None
        self._cancel: Result | None = None
        self._cancels_asked = 0
        self._cancels_done = 0
        self._draining = False
        self._result: Result | None = None
        #: Attempts of each task that were stopped through no fault of its own; they cost it no retry.
        self._excused: Counter[str] = Counter(a.task_key for a in run.attempts if a.error and a.error.code == DRAINED)

    def cancel(self) -> None:
        """Stop the run: the first call politely, the second at once."""
        self._cancels_asked += 1
        self._means.executor.wake()

    def hold(self) -> None:
        """Start nothing more; what runs may end."""
        self._draining = True

    def drain(self, grace: float) -> None:
        """Start nothing more and stop what runs; stopped attempts are repeated when the run is taken up again."""
        self._draining = True
        error = ErrorInfo(message="the engine was stopped; the attempt is repeated when it runs again", code=DRAINED)
        for live in self._live.values():
            self._stop(live, Result.CANCELED, error, grace=grace)

    def run(self) -> Result:
        """Execute the run to its end and return its result; the executor is this run's alone."""
        self.begin()
        while not self.over:
            self.turn(self._means.executor.poll(self.patience()))
        while (result := self.finish()) is None:
            self._means.executor.poll(FULL_DISK_SECONDS)
        return result

    # -- the parts of the loop, for those who execute several runs at once --------------------------------------

    def begin(self) -> None:
        """Store the run as running, or take it up where its former engine left it, and start what may start."""
        now = self._means.clock.now_ms()
        self._started_at = self._run.start_time or now
        if self._job.timeout_seconds:
            left = self._job.timeout_seconds - (now - self._started_at) / 1000
            self._deadline = self._means.clock.monotonic() + left
        if self._run.state is not LifeCycle.RUNNING:
            before = self._run.state
            self._journal.do(lambda tx: tx.run(before, state=LifeCycle.RUNNING, start_time=now))
            self._journal.tell(events.RunStarted(time=now, parameters=dict(self._run.parameters), **self._who()))
        self._take_up()
        self._advance(self._graph.order)
        self.turn(())

    def _take_up(self) -> None:
        """Deal with the attempts that a former engine of this run left."""
        for key, attempt in list(self._attempts.items()):
            if attempt.state is LifeCycle.WAITING_FOR_RETRY:
                heapq.heappush(self._waiting, (attempt.not_before or 0, key))
            elif attempt.state in (LifeCycle.RUNNING, LifeCycle.TERMINATING):
                lost = _Live(self._tasks[key], attempt.run_id, attempt.attempt_number, attempt.start_time or 0, None)
                self._end(lost, Result.FAILED, ENGINE_DIED, {}, LifeCycle.INTERNAL_ERROR)

    @property
    def over(self) -> bool:
        """Whether nothing of the run is alive or will start any more, so that ``finish`` may be called."""
        return not (self._live or self._ready or self._waiting)

    @property
    def drained(self) -> bool:
        """Whether nothing more is to be started, nothing is alive, and everything is stored."""
        return self._draining and not self._live and not self._journal.stuck

    @property
    def live(self) -> int:
        """Attempts whose processes are alive or asked for."""
        return len(self._live)

    @property
    def hungry(self) -> bool:
        """Whether a task waits for a free slot."""
        return bool(self._ready)

    def turn(self, reports: Iterable[Report]) -> None:
        """Take in what happened, store it in one transaction, start what may start."""
        for report in reports:
            self._take(report)
        self._enforce()
        if not self._draining and not self._journal.stuck:
            self._wake_retries()
            self._fill_slots()
        if self._journal.commit():
            launches, self._launches = self._launches, []
            for launch in launches:
                self._means.executor.start(launch)

    def patience(self) -> float | None:
        """Seconds until something is due without a report; None when nothing is."""
        clock = self._means.clock
        due = [live.deadline - clock.monotonic() for live in self._live.values() if live.deadline and not live.stopped]
        if self._deadline and not self._cancel:
            due.append(self._deadline - clock.monotonic())
        if self._waiting and not self._draining:
            due.append((self._waiting[0][0] - clock.now_ms()) / 1000)
        if any(live.server for live in self._live.values()):
            due.append(SERVER_CHECK_SECONDS)
        if self._journal.stuck:
            due.append(FULL_DISK_SECONDS)
        return max(0.0, min(due)) if due else None

    def finish(self) -> Result | None:
        """Store how the run ended and return its result; None when the disk is full, then call again later."""
        if self._result is None:
            self._result = self._conclude()
        return self._result if self._journal.commit() else None

    def _conclude(self) -> Result:
        now = self._means.clock.now_ms()
        decided = plan.run_result(self._job, self._graph, self._states)
        if decided is None:
            left = [key for key, state in self._states.items() if not state.state.ended]
            raise WfengineError(f"run {self._run.run_id} cannot go on and has not ended: {', '.join(left)}")
        result, message = decided
        if self._cancel:
            result = self._cancel
            message = "the run was cancelled" if result is Result.CANCELED else self._overtime()
        self._journal.do(
            lambda tx: tx.run(
                LifeCycle.RUNNING, state=LifeCycle.TERMINATED, result=result, message=message, end_time=now
            )
        )
        self._journal.tell(run_ended(self._run, self._states, result, message, now, self._started_at))
        return result

    # -- deciding and storing -----------------------------------------------------------------------------------

    def _who(self) -> dict[str, Any]:
        return {"run_id": self._run.run_id, "job_id": self._run.job_id, "job_name": self._run.job_name}

    def _advance(self, among: Iterable[str]) -> None:
        """Let the plan decide about the tasks in ``among`` and what follows from them."""
        # Killed, or out of its own time, a run starts nothing more, not even what handles failure.
        over = self._cancels_done > 1 or self._cancel is Result.TIMEDOUT
        asked = deque([among])
        while asked:
            cancelled = self._cancel is not None
            for decision in plan.decide(self._job, self._graph, self._states, asked.popleft(), cancelled=cancelled):
                if isinstance(decision, plan.Finish):
                    self._skip(decision)
                elif over:
                    self._skip(plan.Finish(decision.task_key, Result.CANCELED, "the run was stopped before it"))
                    asked.append(self._graph.downstream[decision.task_key])
                else:
                    self._become(decision.task_key, LifeCycle.PENDING)
                    self._ready[decision.task_key] = None

    def _become(self, key: str, state: LifeCycle, **changes: Any) -> None:
        """Move the latest attempt of a task to another state, here and in the store."""
        attempt = self._attempts[key]
        before = attempt.state
        if state is before and not changes:
            return
        self._attempts[key] = msgspec.structs.replace(attempt, state=state, **changes)
        self._states[key] = plan.TaskState(state, changes.get("result"), changes.get("outcome"))
        self._journal.do(lambda tx: tx.attempt(attempt.run_id, before, state=state, **changes))

    def _skip(self, decision: plan.Finish) -> None:
        now = self._means.clock.now_ms()
        key, result, message = decision
        self._become(key, LifeCycle.TERMINATED, result=result, message=message, end_time=now)
        self._journal.tell(
            events.TaskSkipped(
                time=now,
                task_key=key,
                task_run_id=self._attempts[key].run_id,
                result=result,
                message=message,
                **self._who(),
            )
        )

    # -- starting -----------------------------------------------------------------------------------------------

    def _fill_slots(self) -> None:
        while self._ready and self._means.slots.take():
            key = next(iter(self._ready))
            del self._ready[key]
            self._start(self._tasks[key])

    def _start(self, task: Task) -> None:
        """Store the attempt as running and prepare its launch; a config that cannot be filled fails it at once."""
        now = self._means.clock.now_ms()
        attempt = self._attempts[task.task_key]
        live = _Live(
            task=task,
            id=attempt.run_id,
            number=attempt.attempt_number,
            started=now,
            deadline=self._means.clock.monotonic() + task.timeout_seconds if task.timeout_seconds else None,
        )
        launch: Launch | None = None
        failure: ErrorInfo | None = None
        resolved: dict[str, Any] = {}
        try:
            launch, live.server = self._launcher.launch(task, attempt, self._attempts, self._started_at)
            resolved = launch.payload["config"] if launch.payload["config"] != task.config else {}
        except WfengineError as error:
            failure = ErrorInfo(message=str(error), code="ConfigError")
        self._become(task.task_key, LifeCycle.RUNNING, start_time=now, **({"resolved": resolved} if resolved else {}))
        self._journal.tell(
            events.TaskStarted(
                time=now,
                task_key=task.task_key,
                task_run_id=live.id,
                attempt_number=live.number,
                **self._who(),
            )
        )
        if launch is None:
            self._means.slots.give()
            self._end(live, Result.FAILED, failure, {})
        else:
            self._live[live.id] = live
            self._launches.append(launch)

    # -- stopping -----------------------------------------------------------------------------------------------

    def _enforce(self) -> None:
        """Stop what was cancelled, is out of time, or lost its Spark server."""
        clock = self._means.clock
        if self._deadline is not None and self._cancel is None and clock.monotonic() >= self._deadline:
            self._stop_all(Result.TIMEDOUT, ErrorInfo(message=self._overtime(), code="Timeout"))
        if self._cancels_asked > self._cancels_done:
            self._cancels_done = self._cancels_asked
            self._stop_all(Result.CANCELED, ErrorInfo(message="the run was cancelled", code="Cancelled"))
        for live in list(self._live.values()):
            if live.stopped:
                continue
            if live.deadline is not None and clock.monotonic() >= live.deadline:
                seconds = live.task.timeout_seconds
                message = f"task {live.task.task_key} ran longer than its timeout_seconds of {seconds}"
                self._stop(live, Result.TIMEDOUT, ErrorInfo(message=message, code="Timeout"))
            elif live.server and not live.server.alive():
                message = f"the Spark server ended while this attempt used it: {live.server.exit_cause()}"
                self._stop(live, Result.FAILED, ErrorInfo(message=message, code="SparkServerDied"), grace=0)

    def _overtime(self) -> str:
        return f"the run took longer than the job's timeout_seconds of {self._job.timeout_seconds}"

    def _stop_all(self, result: Result, error: ErrorInfo) -> None:
        """Cancel the run; the second time, kill what is still alive."""
        grace = self._means.settings.grace_seconds if self._cancels_done < 2 else 0
        self._cancel = self._cancel or result
        for live in self._live.values():
            self._stop(live, result, error, grace=grace)
        self._ready.clear()
        waiting, self._waiting = self._waiting, []
        for _, key in waiting:
            self._skip(plan.Finish(key, Result.CANCELED, error.message))
        self._advance(self._graph.order)

    def _stop(self, live: _Live, result: Result, error: ErrorInfo, grace: float | None = None) -> None:
        if live.stopped is None:
            live.stopped = (result, error)
            self._become(live.task.task_key, LifeCycle.TERMINATING)
        self._means.executor.stop(live.id, self._means.settings.grace_seconds if grace is None else grace)

    # -- ending -------------------------------------------------------------------------------------------------

    def _take(self, report: Report) -> None:
        live = self._live.get(report.id)
        if live is None:
            return
        if report.kind == "message":
            self._means.progressed(live.task.task_key, report.message or {})
        if report.kind not in ("ended", "lost"):
            return
        del self._live[report.id]
        self._means.slots.give()
        result, error = ending(report)
        if report.record is None:
            # Nobody was left to remove it.
            shutil.rmtree(self._means.folder / "tasks" / live.task.task_key / str(live.number) / "scratch", True)
        if live.stopped and result is not Result.SUCCESS:
            result, error = live.stopped
        elif result is not Result.SUCCESS and live.server and not live.server.alive():
            # Its Spark call failed before the server's death was noticed here.
            message = f"the Spark server ended while this attempt used it: {live.server.exit_cause()}"
            error = ErrorInfo(message=message, code="SparkServerDied")
        self._end(live, result, error, report.record or {})

    def _end(
        self,
        live: _Live,
        result: Result,
        error: ErrorInfo | None,
        record: Mapping[str, Any],
        state: LifeCycle = LifeCycle.TERMINATED,
    ) -> None:
        """Store an attempt's end, then retry or let the plan go on."""
        now = self._means.clock.now_ms()
        key = live.task.task_key
        facts = _facts(record)
        message = error.message if error else record.get("message", "")
        self._become(
            key,
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
        again = self._again(live, result, error, now)
        if again is not None:
            self._retry(live, result, error, again, now)
            return
        self._journal.tell(
            events.TaskEnded(
                time=now,
                task_key=key,
                task_run_id=live.id,
                attempt_number=live.number,
                result=result,
                message=message,
                duration_ms=now - live.started,
                error=error,
                facts=facts,
                **self._who(),
            )
        )
        self._advance(self._graph.downstream[key])

    def _again(self, live: _Live, result: Result, error: ErrorInfo | None, now: int) -> int | None:
        """Return when the next attempt may start; None when there is none."""
        if self._cancel:
            return None
        if error and error.code == DRAINED:
            self._excused[live.task.task_key] += 1
            return now
        return plan.retry_at(live.task, live.number - self._excused[live.task.task_key], result, live.started, now)

    def _retry(self, live: _Live, result: Result, error: ErrorInfo | None, at: int, now: int) -> None:
        key = live.task.task_key
        self._journal.tell(
            events.TaskRetrying(
                time=now,
                task_key=key,
                task_run_id=live.id,
                attempt_number=live.number,
                result=result,
                error=error,
                next_attempt_at=at,
                **self._who(),
            )
        )
        self._attempts[key] = attempt = Attempt(
            run_id=0, task_key=key, attempt_number=live.number + 1, state=LifeCycle.WAITING_FOR_RETRY, not_before=at
        )
        self._states[key] = plan.TaskState(LifeCycle.WAITING_FOR_RETRY)

        def add(tx: Tx) -> None:
            number = tx.add_attempt(key, attempt.attempt_number, LifeCycle.WAITING_FOR_RETRY, at)
            self._attempts[key] = msgspec.structs.replace(self._attempts[key], run_id=number)

        self._journal.do(add)
        # Its id is given by the store, so it is stored before anything else can happen to it.
        self._journal.commit()
        heapq.heappush(self._waiting, (at, key))

    def _wake_retries(self) -> None:
        now = self._means.clock.now_ms()
        while self._waiting and self._waiting[0][0] <= now:
            _, key = heapq.heappop(self._waiting)
            self._become(key, LifeCycle.PENDING)
            self._ready[key] = None


def _facts(record: Mapping[str, Any]) -> Facts:
    """Read the counts of a completion record; what user code wrote in its place counts for nothing."""
    try:
        return msgspec.convert(record.get("facts", {}), Facts)
    except msgspec.ValidationError:
        return Facts(warnings=("the attempt reported counts that cannot be read",))


#: Results of tasks that did not run because of others.
_BLOCKED = (Result.UPSTREAM_FAILED, Result.UPSTREAM_CANCELED)
#: Results of tasks that went wrong themselves.
_WENT_WRONG = (Result.FAILED, Result.TIMEDOUT, Result.CANCELED)


def run_ended(
    run: JobRun, states: Mapping[str, plan.TaskState], result: Result, message: str, now: int, started: int
) -> events.RunEnded:
    """Build the event of a run's end from the states of its tasks."""
    return events.RunEnded(
        time=now,
        run_id=run.run_id,
        job_id=run.job_id,
        job_name=run.job_name,
        result=result,
        message=message,
        duration_ms=now - started if started else 0,
        failed_tasks=tuple(key for key, state in states.items() if state.result in _WENT_WRONG),
        blocked_tasks=tuple(key for key, state in states.items() if state.result in _BLOCKED),
    )
