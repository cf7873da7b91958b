"""What holds for every job, whatever its shape and however its tasks end (``docs/semantics.md``, sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wfengine.explain import explain
from wfengine.graph import Graph, build
from wfengine.jobs import Dependency, Job, Task
from wfengine.plan import Finish, Start, TaskState, decide, handles_failure, run_result
from wfengine.states import LifeCycle, Result, RunIf

#: A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
EXECUTED = (Result.SUCCESS, Result.FAILED, Result.TIMEDOUT, Result.CANCELED)
#: Not executed, so never the result of a task that was started.
BLOCKED = TaskState(LifeCycle.BLOCKED)
RUNNING = TaskState(LifeCycle.RUNNING)
#: Picks the index of the task that ends next among so many running ones.
Choose = Callable[[int], int]


class Case(NamedTuple):
    job: Job
    graph: Graph
    #: How each task ends when it is executed.
    ends: dict[str, TaskState]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 9))
    tasks: list[Task] = []
    ends: dict[str, TaskState] = {}
    for i in range(count):
        above = sorted(draw(st.sets(st.integers(0, i - 1), max_size=3))) if i else []
        arms = st.sampled_from(["true", "false", None])
        tasks.append(
            Task(
                task_key=f"t{i}",
                kind=draw(st.sampled_from(["shell", "condition"])),
                depends_on=tuple(
                    Dependency(task_key=f"t{j}", outcome=draw(arms) if tasks[j].kind == "condition" else None)
                    for j in above
                ),
                run_if=draw(st.sampled_from(list(RunIf))),
                disabled=draw(st.integers(0, 7)) == 0,
            )
        )
        result = draw(st.sampled_from(EXECUTED))
        outcome = draw(st.sampled_from(["true", "false"])) if tasks[i].kind == "condition" else None
        ends[f"t{i}"] = TaskState(LifeCycle.TERMINATED, result, outcome if result is Result.SUCCESS else None)
    job = Job(name="j", tasks=tuple(draw(st.permutations(tasks))))
    return Case(job, build(job.tasks), ends)


class Outcome(NamedTuple):
    states: dict[str, TaskState]
    started: list[str]


def play(case: Case, choose: Choose, *, cancel_after: int | None = None, whole: bool = False) -> Outcome:
    """Run a job in thought, ending running tasks in the order that ``choose`` picks.

    ``cancel_after`` so many ends the run is cancelled and what runs ends CANCELED. With ``whole`` every decision looks
    at the whole job, else only behind the task that has ended. Fails when a task starts too early, twice or never ends.
    """
    job, graph, ends = case
    states = dict.fromkeys(graph.order, BLOCKED)
    running: list[str] = []
    started: list[str] = []
    done = 0

    def advance(among: tuple[str, ...]) -> None:
        cancelled = cancel_after is not None and done >= cancel_after
        for decision in decide(job, graph, states, graph.order if whole else among, cancelled=cancelled):
            key = decision.task_key
            assert states[key] is BLOCKED
            assert all(states[above].state.ended for above in graph.upstream[key])
            assert not (cancelled and isinstance(decision, Start)) or handles_failure(job.task(key))
            states[key] = RUNNING if isinstance(decision, Start) else TaskState(LifeCycle.TERMINATED, decision.result)
            if isinstance(decision, Start):
                started.append(key)
                running.append(key)

    advance(graph.order)
    while running:
        assert run_result(job, graph, states) is None
        key = running.pop(choose(len(running)))
        stopped = cancel_after is not None and done >= cancel_after
        states[key] = TaskState(LifeCycle.TERMINATED, Result.CANCELED) if stopped else ends[key]
        done += 1
        advance(graph.order if done == cancel_after else graph.downstream[key])
    assert len(started) == len(set(started))
    return Outcome(states, started)


def first(_running: int) -> int:
    return 0


@st.composite
def orders(draw: st.DrawFn) -> Choose:
    random = draw(st.randoms(use_true_random=False))
    return lambda running: random.randrange(running)


@patient
@given(cases(), orders())
def test_every_run_ends_and_no_task_starts_before_its_upstreams_have_ended(case: Case, order: Choose) -> None:
    """``docs/semantics.md``, section 2: the order is checked at every decision while the run is played."""
    states, _ = play(case, order)
    assert all(state.state.ended and state.result is not None for state in states.values())
    assert run_result(case.job, case.graph, states) is not None


@patient
@given(cases(), orders())
def test_the_order_in_which_tasks_end_changes_no_result(case: Case, order: Choose) -> None:
    """The same results of the executed tasks give the same states of all, so a run can be explained and repeated."""
    one, other = play(case, first), play(case, order)
    assert one.states == other.states
    assert set(one.started) == set(other.started)
    assert run_result(case.job, case.graph, one.states) == run_result(case.job, case.graph, other.states)


@patient
@given(cases(), orders())
def test_looking_only_behind_what_has_ended_misses_nothing(case: Case, order: Choose) -> None:
    """Deciding step by step equals deciding from scratch, so a run that is taken over goes on as it would have."""
    assert play(case, first).states == play(case, first, whole=True).states
    states, _ = play(case, order)
    assert decide(case.job, case.graph, states, case.graph.order) == []


@patient
@given(cases(), orders(), st.integers(0, 9))
def test_a_cancelled_run_ends_and_starts_only_what_handles_failure(case: Case, order: Choose, after: int) -> None:
    """``docs/semantics.md``, section 2: checked at every decision after the cancel."""
    states, _ = play(case, order, cancel_after=after)
    assert all(state.state.ended for state in states.values())
    assert run_result(case.job, case.graph, states) is not None


@patient
@given(cases(), orders())
def test_a_decision_never_contradicts_what_a_task_itself_reported(case: Case, order: Choose) -> None:
    """An executed task keeps its own result; a task that was not executed has one that says so."""
    states, started = play(case, order)
    for key, state in states.items():
        if key in started:
            assert state == case.ends[key]
        else:
            assert state.result not in (Result.SUCCESS, Result.FAILED, Result.TIMEDOUT)


@patient
@given(cases())
def test_a_decision_is_pure(case: Case) -> None:
    """Asking twice gives the same answer and changes nothing."""
    states = dict.fromkeys(case.graph.order, BLOCKED)
    once = decide(case.job, case.graph, states, case.graph.order)
    assert states == dict.fromkeys(case.graph.order, BLOCKED)
    assert decide(case.job, case.graph, states, reversed(case.graph.order)) == once
    assert all(decision.message for decision in once if isinstance(decision, Finish))


@patient
@given(cases())
def test_an_explanation_tells_what_a_run_does(case: Case) -> None:
    """``wfengine explain`` and the runner share the plan, so they cannot differ."""
    forced = {key: state.outcome or str(state.result) for key, state in case.ends.items()}
    explanation = explain(case.job, forced)
    states, started = play(case, first)
    assert {one.task_key: one.result for one in explanation.tasks} == {
        key: state.result for key, state in states.items()
    }
    assert {one.task_key for one in explanation.tasks if one.runs} == set(started)
    assert (explanation.result, explanation.message) == run_result(case.job, case.graph, states)
