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
from typing import Any

import msgspec

from wfengine import events, plan, undo
from wfengine.controltasks import ENGINE_DIED, GOING, ControlTasks, Live, prepared
from wfengine.errors import TaskFailed, WfengineError
from wfengine.executor import Launch, Report, ending
from wfengine.graph import Graph, build
from wfengine.home import attempt_place
from wfengine.jobs import CONTROL, Job, Task
from wfengine.journal import Journal
from wfengine.launching import Launcher, Means, Work
from wfengine.runs import ErrorInfo, Fingerprint, JobRun, Unit
from wfengine.standing import Standing
from wfengine.states import LifeCycle, Result

#: How often a commit is tried again that found the disk full.
FULL_DISK_SECONDS = 1.0
#: Code of an attempt that was stopped because its engine was, and will be repeated.
DRAINED = "Drained"
#: Longest wait of the loop while a Spark server is in use, so that its death is seen within a second.
SERVER_CHECK_SECONDS = 1.0


class Runner:
    """Executes one stored run; ``cancel`` may be called from a signal handler or another thread."""

    def __init__(self, job: Job, run: JobRun, means: Means) -> None:
        self._job, self._run, self._means = job, run, means
        self._graph: Graph = build(job.tasks)
        self._tasks = {task.task_key: task for task in job.tasks}
        self._journal = Journal(means.transaction, means.committed)
        self._standing = Standing(job, run, self._journal, means.clock)
        self._controls = ControlTasks(self, job, run, self._standing, means.children)
        #: What may start, in order: control tasks, and what needs a slot; dicts, so that nothing is there twice.
        self._ready_controls: dict[Unit, None] = {}
        self._ready: dict[Unit, None] = {}
        self._waiting: list[tuple[int, Unit]] = []
        #: Attempts that have a process, by their ids.
        self._live: dict[int, Live] = {}
        self._launcher = Launcher(job, run, means)
        self._launches: list[Launch] = []
        self._started_at = 0
        self._deadline: float | None = None
        self._cancel: Result | None = None
        self._cancels_asked = 0
        self._cancels_done = 0
        self._draining = False
        self._result: Result | None = None
        #: Tasks whose cancellation was asked for and not seen to yet.
        self._unwanted: deque[str] = deque()
        #: Attempts that were stopped through no fault of their own, or belong to the time before a repair; they cost
        #: no retry.
        self._excused: Counter[Unit] = Counter(
            a.unit
            for a in (*run.attempts, *run.iterations)
            if run.of_former(a) or (a.error and a.error.code == DRAINED)
        )

    def cancel(self) -> None:
        """Stop the run: the first call politely, the second at once."""
        self._cancels_asked += 1
        self._means.executor.wake()

    def cancel_task(self, key: str) -> None:
        """Stop one task, or let it not start; the run goes on. Callable as ``cancel``; what has ended stays so."""
        self._unwanted.append(key)
        self._means.executor.wake()

    def hold(self) -> None:
        """Start nothing more; what runs may end."""
        self._draining = True

    def drain(self, grace: float) -> None:
        """Start nothing more and stop what runs; stopped attempts are repeated when the run is taken up again."""
        self._draining = True
        error = ErrorInfo(message="the engine was stopped; the attempt is repeated when it runs again", code=DRAINED)
        for live in self._live.values():
            self.stop(live, Result.CANCELED, error, grace)

    # -- the parts of the loop, for whoever executes runs ---------------------------------------------------------

    def begin(self) -> None:
        """Store the run as running, or take it up where its former engine left it, and start what may start."""
        now = self._means.clock.now_ms()
        self._started_at = self._run.start_time or now
        self._deadline = self._deadline_of(self._job.timeout_seconds, self._started_at)
        if self._run.state is not LifeCycle.RUNNING:
            before = self._run.state
            self._journal.do(lambda tx: tx.run(before, state=LifeCycle.RUNNING, start_time=now))
            parameters = dict(self._run.parameters)
            self._journal.tell(events.RunStarted(time=now, parameters=parameters, **self._standing.who()))
        self._take_up()
        self._advance(self._graph.order)
        self.turn(())

    def _take_up(self) -> None:
        """Deal with the attempts that a former engine of this run left."""
        going = [a for a in self._standing.tasks.values() if a.state in GOING]
        for attempt in going:
            if self._tasks[attempt.task_key].kind == "for_each":
                self._controls.resume(self._live_of(attempt.unit))
        for attempt in [*self._standing.tasks.values(), *self._standing.iterations.values()]:
            if attempt.state is LifeCycle.WAITING_FOR_RETRY:
                heapq.heappush(self._waiting, (attempt.not_before or 0, attempt.unit))
            elif attempt.state in GOING and attempt.unit not in self._controls.held:
                live = self._live_of(attempt.unit)
                if live.task.kind == "run_job":
                    self._controls.start(live, attempt.resolved or live.task.config)
                else:
                    self._end(live, Result.FAILED, ENGINE_DIED, {}, LifeCycle.INTERNAL_ERROR)
        self._controls.settle()

    @property
    def over(self) -> bool:
        """Whether nothing of the run is alive or will start any more, so that ``finish`` may be called."""
        return not (self._live or self._controls.held or self._ready or self._ready_controls or self._waiting)

    @property
    def drained(self) -> bool:
        """Whether nothing more is to be started, nothing is alive, and everything is stored."""
        return self._draining and not self._live and not self._journal.stuck

    @property
    def stuck(self) -> bool:
        """Whether the disk was full when its last changes were to be stored."""
        return self._journal.stuck

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
        again = True
        while again:
            again = self._journal.stuck
            if not self._draining and not self._journal.stuck:
                self._wake_retries()
                self._fill_slots()
            if not self._journal.commit():
                return
            launches, self._launches = self._launches, []
            for launch in launches:
                self._means.executor.start(launch)
            # What came of asking for other runs is stored as well; so is what could not start while the disk was full.
            again = self._controls.bear() or again

    def child_ended(self, child: JobRun, trouble: str = "") -> None:
        """Take in how the run of a run_job task ended, or why it cannot go on, and go on from there."""
        self._controls.child_ended(child, trouble)
        self.turn(())

    def patience(self) -> float | None:
        """Seconds until something is due without a report; None when nothing is."""
        clock = self._means.clock
        under_way = (*self._live.values(), *self._controls.held.values())
        due = [live.deadline - clock.monotonic() for live in under_way if live.deadline and not live.stopped]
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
        now, states = self._means.clock.now_ms(), self._standing.states
        decided = plan.run_result(self._job, self._graph, states)
        if decided is None:
            left = [key for key, state in states.items() if not state.state.ended]
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
        self._journal.tell(run_ended(self._run, states, result, message, now, self._started_at))
        return result

    # -- deciding -----------------------------------------------------------------------------------------------

    def _advance(self, among: Iterable[str]) -> None:
        """Let the plan decide about the tasks in ``among`` and what follows from them."""
        # Killed, or out of its own time, a run starts nothing more, not even what handles failure.
        over = self._cancels_done > 1 or self._cancel is Result.TIMEDOUT
        cancelled = self._cancel is not None
        states, asked = self._standing.states, deque([among])
        while asked:
            for decision in plan.decide(self._job, self._graph, states, asked.popleft(), cancelled=cancelled):
                unit = (decision.task_key, -1)
                if isinstance(decision, plan.Finish):
                    self._standing.skip(unit, decision.result, decision.message)
                elif over:
                    self._standing.skip(unit, Result.CANCELED, "the run was stopped before it")
                    asked.append(self._graph.downstream[decision.task_key])
                else:
                    self.queue(unit)

    def queue(self, unit: Unit) -> None:
        """Let a task or an iteration start as soon as it may."""
        self._standing.become(unit, LifeCycle.PENDING)
        ready = self._ready_controls if self._task(unit).kind in CONTROL else self._ready
        ready[unit] = None

    def forget(self, unit: Unit) -> None:
        """Start no attempt of a task or an iteration that has not begun."""
        self._ready.pop(unit, None)
        self._ready_controls.pop(unit, None)
        self._waiting = [waiting for waiting in self._waiting if waiting[1] != unit]
        heapq.heapify(self._waiting)

    def made_of(self, task: Task) -> Fingerprint:
        """Return what a task is made of now."""
        return self._launcher.fingerprint(task)

    def _task(self, unit: Unit) -> Task:
        """Return the task, or for an iteration the task inside the for_each."""
        task = self._tasks[unit[0]]
        return task if unit[1] < 0 else task.nested or task

    # -- starting -----------------------------------------------------------------------------------------------

    def _fill_slots(self) -> None:
        """Start what may start: control tasks at once, the others as long as there are slots."""
        while not self._journal.stuck:
            if self._ready_controls:
                unit = next(iter(self._ready_controls))
                del self._ready_controls[unit]
                self._start_control(unit)
            elif self._ready and self._means.slots.take():
                unit = next(iter(self._ready))
                del self._ready[unit]
                self._start(unit)
            else:
                return

    def _deadline_of(self, seconds: int, started: int) -> float | None:
        """Return when something is out of time, on the monotonic clock; ``started`` is in epoch milliseconds."""
        clock = self._means.clock
        return clock.monotonic() + seconds - (clock.now_ms() - started) / 1000 if seconds else None

    def _live_of(self, unit: Unit) -> Live:
        """Describe an attempt that starts now or, as it stands, was under way before."""
        attempt, task = self._standing.attempt(unit), self._task(unit)
        started = attempt.start_time or self._means.clock.now_ms()
        deadline = self._deadline_of(task.timeout_seconds, started)
        return Live(task, unit, attempt.run_id, attempt.attempt_number, started, deadline)

    def _work(self, unit: Unit) -> Work:
        around = self._controls.held.get((unit[0], -1)) if unit[1] >= 0 else None
        element = around.loop.inputs[unit[1]] if around and around.loop else msgspec.UNSET
        attempt = self._standing.attempt(unit)
        standing = self._standing
        return Work(self._task(unit), attempt, standing.tasks, standing.values, self._started_at, element)

    def _start(self, unit: Unit) -> None:
        """Store the attempt as running and prepare its launch; a config that cannot be filled fails it at once."""
        live = self._live_of(unit)
        launch: Launch | None = None
        failure: ErrorInfo | None = None
        resolved: dict[str, Any] = {}
        try:
            launch, live.server = self._launcher.launch(self._work(unit))
            resolved = launch.payload["config"] if launch.payload["config"] != live.task.config else {}
        except WfengineError as error:
            failure = ErrorInfo(message=str(error), code="ConfigError")
        live.started = self._standing.begin(unit, resolved, self.made_of(live.task))
        if launch is None:
            self._means.slots.give()
            self.end(live, Result.FAILED, failure, {})
        else:
            live.launch = launch
            self._live[live.id] = live
            self._launches.append(launch)

    def _start_control(self, unit: Unit) -> None:
        """Store a control task as running and carry it out or begin it; it takes no slot."""
        live = self._live_of(unit)
        config: dict[str, Any] = {}
        failure: ErrorInfo | None = None
        try:
            config = prepared(live.task, self._launcher.filled(self._work(unit)))
        except WfengineError as error:
            failure = ErrorInfo(
                message=str(error), code="UserError" if isinstance(error, TaskFailed) else "ConfigError"
            )
        made_of, count = self.made_of(live.task), len(config.get("inputs", ()))
        live.started = self._standing.begin(unit, config, made_of, count)
        if failure:
            self.end(live, Result.FAILED, failure, {})
        else:
            self._controls.start(live, config)

    # -- stopping -----------------------------------------------------------------------------------------------

    def _enforce(self) -> None:
        """Stop what was cancelled, is out of time, or lost its Spark server."""
        clock = self._means.clock
        if self._deadline is not None and self._cancel is None and clock.monotonic() >= self._deadline:
            self._stop_all(Result.TIMEDOUT, ErrorInfo(message=self._overtime(), code="Timeout"))
        if self._cancels_asked > self._cancels_done:
            self._cancels_done = self._cancels_asked
            self._stop_all(Result.CANCELED, ErrorInfo(message="the run was cancelled", code="Cancelled"))
        while self._unwanted:
            self._cancel_task(self._unwanted.popleft())
        for live in [*self._controls.held.values(), *self._live.values()]:
            if live.stopped or live.ended:
                continue
            if live.deadline is not None and clock.monotonic() >= live.deadline:
                seconds = live.task.timeout_seconds
                message = f"task {live.task.task_key} ran longer than its timeout_seconds of {seconds}"
                self.stop(live, Result.TIMEDOUT, ErrorInfo(message=message, code="Timeout"))
            elif live.server and not live.server.alive():
                message = f"the Spark server ended while this attempt used it: {live.server.exit_cause()}"
                self.stop(live, Result.FAILED, ErrorInfo(message=message, code="SparkServerDied"), grace=0)

    def _overtime(self) -> str:
        return f"the run took longer than the job's timeout_seconds of {self._job.timeout_seconds}"

    def _stop_all(self, result: Result, error: ErrorInfo) -> None:
        """Cancel the run; the second time, kill what is still alive."""
        grace = self._means.settings.grace_seconds if self._cancels_done < 2 else 0
        self._cancel = self._cancel or result
        self._ready.clear()
        self._ready_controls.clear()
        # Iterations are stopped by their loops.
        for live in [*self._controls.held.values(), *self._live.values()]:
            if live.unit[1] < 0:
                self.stop(live, result, error, grace)
        waiting, self._waiting = self._waiting, []
        for _, unit in waiting:
            self._standing.skip(unit, Result.CANCELED, error.message)
        self._advance(self._graph.order)

    def _cancel_task(self, key: str) -> None:
        error, unit = ErrorInfo(message="the task was cancelled", code="Cancelled"), (key, -1)
        if key not in self._standing.states or self._standing.states[key].state.ended:
            return
        live = self.under_way(unit)
        if live:
            self.stop(live, Result.CANCELED, error)
        else:
            self.forget(unit)
            self._standing.skip(unit, Result.CANCELED, error.message)
            self._advance(self._graph.downstream[key])

    def under_way(self, unit: Unit) -> Live | None:
        """Return the attempt of a task or an iteration that is under way."""
        return self._controls.held.get(unit) or self._live.get(self._standing.attempt(unit).run_id)

    def stop(self, live: Live, result: Result, error: ErrorInfo, grace: float | None = None) -> None:
        """Stop an attempt within ``grace`` seconds, None for the usual time; it ends as ``result``."""
        if live.ended:
            # Its writes are being undone, and that is brought to its end.
            return
        if live.stopped is None:
            live.stopped = (result, error)
            self._standing.become(live.unit, LifeCycle.TERMINATING)
        if live.unit in self._controls.held:
            self._controls.stop(live, grace)
        else:
            self._means.executor.stop(live.id, self._means.settings.grace_seconds if grace is None else grace)

    # -- ending -------------------------------------------------------------------------------------------------

    def _take(self, report: Report) -> None:
        live = self._live.get(report.id)
        if live is None:
            return
        if report.kind == "message" and live.unit[1] < 0:
            self._means.progressed(live.unit[0], report.message or {})
        if report.kind not in ("ended", "lost"):
            return
        if live.ended is None:
            live.ended = (*self._outcome(live, report), report.record or {})
            after = undo.launch(live.launch, live.ended[0], report, restore=live.task.on_failure == "restore")
            if after:
                live.deadline = None
                self._launches.append(after)
                return
        else:
            result, error, record = live.ended
            live.ended = result, error, undo.told(record, report, restore=live.task.on_failure == "restore")
        del self._live[report.id]
        self._means.slots.give()
        self.end(live, *live.ended)

    def _outcome(self, live: Live, report: Report) -> tuple[Result, ErrorInfo | None]:
        """Return how an attempt whose process is gone came out, and why when it failed."""
        result, error = ending(report)
        if report.record is None:
            # Nobody was left to remove it.
            shutil.rmtree(self._means.folder / attempt_place(*live.unit, live.number) / "scratch", True)
        if live.stopped and result is not Result.SUCCESS:
            result, error = live.stopped
        elif result is not Result.SUCCESS and live.server and not live.server.alive():
            # Its Spark call failed before the server's death was noticed here.
            message = f"the Spark server ended while this attempt used it: {live.server.exit_cause()}"
            error = ErrorInfo(message=message, code="SparkServerDied")
        return result, error

    def end(self, live: Live, result: Result, error: ErrorInfo | None, record: Mapping[str, Any]) -> None:
        """Store an attempt's end, then retry or let the plan go on."""
        self._end(live, result, error, record, LifeCycle.TERMINATED)

    def _end(
        self, live: Live, result: Result, error: ErrorInfo | None, record: Mapping[str, Any], state: LifeCycle
    ) -> None:
        ended = self._standing.end(live.unit, state, result, error, record)
        again = self._again(live, result, error, ended.time)
        if again is not None:
            self._standing.retry(ended, again)
            heapq.heappush(self._waiting, (again, live.unit))
            return
        self._journal.tell(ended)
        if live.unit[1] < 0:
            self._advance(self._graph.downstream[live.unit[0]])
        else:
            self._controls.iterated(live.unit, result)

    def _again(self, live: Live, result: Result, error: ErrorInfo | None, now: int) -> int | None:
        """Return when the next attempt may start; None when there is none."""
        if self._cancel:
            return None
        if error and error.code == DRAINED:
            self._excused[live.unit] += 1
            return now
        return plan.retry_at(live.task, live.number - self._excused[live.unit], result, live.started, now)

    def _wake_retries(self) -> None:
        now = self._means.clock.now_ms()
        while self._waiting and self._waiting[0][0] <= now:
            self.queue(heapq.heappop(self._waiting)[1])


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
