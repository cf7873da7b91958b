"""Every row of ``docs/semantics.md``, sections 2 to 4, as a table."""

from __future__ import annotations

from itertools import product

import pytest

from wfengine.graph import build
from wfengine.jobs import Dependency, Job, Task
from wfengine.plan import RULES, Finish, Start, TaskState, decide, retry_at, run_result, warnings
from wfengine.states import LifeCycle, Result, RunIf

R = Result
BLOCKED = TaskState(LifeCycle.BLOCKED)


def ended(result: Result, outcome: str | None = None) -> TaskState:
    return TaskState(LifeCycle.TERMINATED, result, outcome)


def task(
    key: str, *upstreams: str, run_if: RunIf = RunIf.ALL_SUCCESS, disabled: bool = False, kind: str = "shell"
) -> Task:
    """Build a task; an upstream is written ``key`` or ``key=outcome``."""
    pairs = (upstream.partition("=") for upstream in upstreams)
    depends_on = tuple(Dependency(task_key=name, outcome=outcome or None) for name, _, outcome in pairs)
    return Task(task_key=key, kind=kind, depends_on=depends_on, run_if=run_if, disabled=disabled)


def decided(child: Task, *, cancelled: bool = False, **upstreams: TaskState) -> Start | Finish | None:
    """Decide about ``child`` alone, given how its upstreams stand."""
    job = Job(name="j", tasks=(*(task(key) for key in upstreams), child))
    decisions = decide(
        job, build(job.tasks), {**upstreams, child.task_key: BLOCKED}, [child.task_key], cancelled=cancelled
    )
    assert len(decisions) <= 1
    return decisions[0] if decisions else None


#: How the results of upstreams count: succeeded, excluded, failed, cancelled, disabled.
CLASS = {
    R.SUCCESS: "S",
    R.EXCLUDED: "X",
    R.FAILED: "F",
    R.TIMEDOUT: "F",
    R.UPSTREAM_FAILED: "F",
    R.CANCELED: "C",
    R.UPSTREAM_CANCELED: "C",
    R.DISABLED: "D",
}
#: Section 2 by run_if (columns) and the upstreams (rows); ``run`` or the letter of the result without being executed.
COLUMNS = ("ALL_SUCCESS", "AT_LEAST_ONE_SUCCESS", "NONE_FAILED", "ALL_DONE", "AT_LEAST_ONE_FAILED", "ALL_FAILED")
TABLE = """
    S    run run run run X   X
    X    X   X   X   X   X   X
    F    F   F   F   run run run
    C    C   C   C   run run run
    D    D   D   D   run D   D
    SS   run run run run X   X
    SX   run run run run X   X
    FS   F   run F   run run X
    CS   C   run C   run run X
    DS   D   run run run D   D
    XX   X   X   X   X   X   X
    FX   F   run F   run run X
    CX   C   run C   run run X
    DX   D   run D   run D   D
    FF   F   F   F   run run run
    CF   F   F   F   run run run
    DF   F   F   F   run run D
    CC   C   C   C   run run run
    CD   C   C   C   run run D
    DD   D   D   D   run D   D
"""
LETTER = {"F": R.UPSTREAM_FAILED, "C": R.UPSTREAM_CANCELED, "X": R.EXCLUDED, "D": R.DISABLED}
EXPECTED = {row.split()[0]: dict(zip(COLUMNS, row.split()[1:], strict=True)) for row in TABLE.strip().splitlines()}
COMBINATIONS = [(first,) for first in CLASS] + list(product(CLASS, repeat=2))


@pytest.mark.parametrize("run_if", list(RunIf))
@pytest.mark.parametrize("results", COMBINATIONS, ids="-".join)
def test_run_if_decides_by_how_the_upstreams_ended(run_if: RunIf, results: tuple[Result, ...]) -> None:
    """``docs/semantics.md``, section 2: every rule over every combination of one and of two upstreams."""
    expected = EXPECTED["".join(sorted(CLASS[result] for result in results))][run_if]
    decision = decided(
        task("child", *(f"u{i}" for i in range(len(results))), run_if=run_if),
        **{f"u{i}": ended(result) for i, result in enumerate(results)},
    )
    if expected == "run":
        assert decision == Start("child")
    else:
        assert isinstance(decision, Finish)
        assert decision.result is LETTER[expected]
        assert decision.message


def test_every_rule_is_in_the_table() -> None:
    """``docs/semantics.md``, section 2: the vocabulary and the table are the same six."""
    assert {str(run_if) for run_if in RULES} == set(COLUMNS) == {str(run_if) for run_if in RunIf}


@pytest.mark.parametrize("run_if", list(RunIf))
def test_a_task_without_upstreams_starts_whatever_its_run_if(run_if: RunIf) -> None:
    """``docs/semantics.md``, section 2."""
    assert decided(task("child", run_if=run_if)) == Start("child")


@pytest.mark.parametrize("state", [state for state in LifeCycle if not state.ended])
@pytest.mark.parametrize("run_if", list(RunIf))
def test_nothing_is_decided_while_an_upstream_has_not_ended(run_if: RunIf, state: LifeCycle) -> None:
    """``docs/semantics.md``, section 2: also when the other upstream would already settle the matter."""
    assert decided(task("child", "a", "b", run_if=run_if), a=ended(R.FAILED), b=TaskState(state)) is None


@pytest.mark.parametrize("result", [R.FAILED, None])
def test_a_task_that_the_engine_lost_counts_as_failed(result: Result | None) -> None:
    """``docs/semantics.md``, section 2: life cycle INTERNAL_ERROR."""
    lost = TaskState(LifeCycle.INTERNAL_ERROR, result)
    assert decided(task("child", "a"), a=lost) == Finish(
        "child", R.UPSTREAM_FAILED, "upstream task a failed (run_if ALL_SUCCESS)"
    )
    assert decided(task("child", "a", run_if=RunIf.ALL_FAILED), a=lost) == Start("child")


@pytest.mark.parametrize("result", list(CLASS))
@pytest.mark.parametrize("run_if", list(RunIf))
def test_a_disabled_task_is_disabled_once_its_upstreams_have_ended(run_if: RunIf, result: Result) -> None:
    """``docs/semantics.md``, section 2: it keeps its place in the order."""
    child = task("child", "a", run_if=run_if, disabled=True)
    assert decided(child, a=ended(result)) == Finish("child", R.DISABLED, "disabled in the job file")
    assert decided(child, a=TaskState(LifeCycle.RUNNING)) is None


# -- conditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_if", list(RunIf))
def test_the_arm_that_was_not_taken_is_excluded_whatever_its_run_if(run_if: RunIf) -> None:
    """``docs/semantics.md``, section 2."""
    assert decided(task("arm", "c=true", run_if=run_if), c=ended(R.SUCCESS, "false")) == Finish(
        "arm", R.EXCLUDED, "condition c came out false, not true"
    )


@pytest.mark.parametrize("outcome", ["true", "false"])
def test_the_arm_that_was_taken_and_a_task_that_names_no_arm_run(outcome: str) -> None:
    """``docs/semantics.md``, section 2."""
    condition = ended(R.SUCCESS, outcome)
    assert decided(task("arm", f"c={outcome}"), c=condition) == Start("arm")
    assert decided(task("child", "c"), c=condition) == Start("child")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (R.FAILED, R.UPSTREAM_FAILED),
        (R.CANCELED, R.UPSTREAM_CANCELED),
        (R.UPSTREAM_FAILED, R.UPSTREAM_FAILED),
        (R.EXCLUDED, R.EXCLUDED),
        (R.DISABLED, R.DISABLED),
    ],
)
def test_a_condition_without_an_outcome_counts_by_its_result(result: Result, expected: Result) -> None:
    """``docs/semantics.md``, section 2: both arms alike."""
    for arm in ("c=true", "c=false"):
        decision = decided(task("arm", arm), c=ended(result))
        assert isinstance(decision, Finish)
        assert decision.result is expected


def test_a_join_after_both_arms_runs_by_default() -> None:
    """``docs/semantics.md``, section 2: the excluded arm counts as success."""
    assert decided(task("join", "yes", "no"), yes=ended(R.SUCCESS), no=ended(R.EXCLUDED)) == Start("join")


@pytest.mark.parametrize("run_if", [RunIf.ALL_SUCCESS, RunIf.AT_LEAST_ONE_SUCCESS, RunIf.NONE_FAILED, RunIf.ALL_DONE])
def test_a_task_that_would_run_is_excluded_while_one_arm_it_names_was_not_taken(run_if: RunIf) -> None:
    """``docs/semantics.md``, section 2: an outcome must be met for the task to run."""
    child = task("child", "other", "c=true", run_if=run_if)
    decision = decided(child, other=ended(R.SUCCESS), c=ended(R.SUCCESS, "false"))
    assert decision == Finish("child", R.EXCLUDED, "condition c came out false, not true")


def test_an_arm_that_was_not_taken_hides_no_failure() -> None:
    """``docs/semantics.md``, section 2: the rule is asked first."""
    decision = decided(task("child", "other", "c=true"), other=ended(R.FAILED), c=ended(R.SUCCESS, "false"))
    assert decision == Finish("child", R.UPSTREAM_FAILED, "upstream task other failed (run_if ALL_SUCCESS)")


# -- messages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run_if", "results", "message"),
    [
        ("ALL_SUCCESS", "FAILED SUCCESS", "upstream task a failed (run_if ALL_SUCCESS)"),
        ("ALL_SUCCESS", "FAILED FAILED", "upstream tasks a, b failed (run_if ALL_SUCCESS)"),
        ("ALL_SUCCESS", "UPSTREAM_FAILED TIMEDOUT", "upstream task b timed out (run_if ALL_SUCCESS)"),
        ("NONE_FAILED", "UPSTREAM_FAILED SUCCESS", "upstream task a ended UPSTREAM_FAILED (run_if NONE_FAILED)"),
        ("ALL_SUCCESS", "CANCELED SUCCESS", "upstream task a ended CANCELED (run_if ALL_SUCCESS)"),
        ("ALL_SUCCESS", "DISABLED SUCCESS", "upstream task a ended DISABLED (run_if ALL_SUCCESS)"),
        ("ALL_FAILED", "FAILED SUCCESS", "upstream task b succeeded (run_if ALL_FAILED)"),
        ("AT_LEAST_ONE_FAILED", "SUCCESS SUCCESS", "upstream tasks a, b succeeded (run_if AT_LEAST_ONE_FAILED)"),
        ("ALL_DONE", "EXCLUDED EXCLUDED", "every upstream task ended EXCLUDED: a, b"),
        ("ALL_SUCCESS", "FAILED " * 4, "upstream tasks a, b, c and 1 more failed (run_if ALL_SUCCESS)"),
        ("ALL_SUCCESS", "FAILED " * 9, "upstream tasks a, b, c and 6 more failed (run_if ALL_SUCCESS)"),
    ],
)
def test_a_message_names_the_rule_and_at_most_three_upstreams(run_if: str, results: str, message: str) -> None:
    """``docs/semantics.md``, section 2."""
    upstreams = {key: ended(Result(result)) for key, result in zip("abcdefghi", results.split(), strict=False)}
    decision = decided(task("child", *upstreams, run_if=RunIf(run_if)), **upstreams)
    assert isinstance(decision, Finish)
    assert decision.message == message


# -- many tasks ---------------------------------------------------------------------------------------------------


def test_what_a_failure_blocks_is_decided_through_the_whole_graph_at_once() -> None:
    """``docs/semantics.md``, section 2: the clean-up at the end starts in the same decision."""
    job = Job(name="j", tasks=(task("a"), task("b", "a"), task("c", "b"), task("clean", "c", run_if=RunIf.ALL_DONE)))
    states = {"a": ended(R.FAILED), "b": BLOCKED, "c": BLOCKED, "clean": BLOCKED}
    assert decide(job, build(job.tasks), states, ["b"]) == [
        Finish("b", R.UPSTREAM_FAILED, "upstream task a failed (run_if ALL_SUCCESS)"),
        Finish("c", R.UPSTREAM_FAILED, "upstream task b ended UPSTREAM_FAILED (run_if ALL_SUCCESS)"),
        Start("clean"),
    ]


def test_only_tasks_asked_about_are_decided_each_once_and_in_the_order_of_the_file() -> None:
    job = Job(name="j", tasks=(task("a"), task("b"), task("c")))
    states = dict.fromkeys("abc", BLOCKED)
    assert decide(job, build(job.tasks), states, ["c", "a", "c"]) == [Start("a"), Start("c")]
    assert states == dict.fromkeys("abc", BLOCKED)


@pytest.mark.parametrize("state", [state for state in LifeCycle if state not in (LifeCycle.BLOCKED, LifeCycle.PENDING)])
def test_a_task_that_has_been_started_is_never_decided_again(state: LifeCycle) -> None:
    job = Job(name="j", tasks=(task("a"),))
    assert decide(job, build(job.tasks), {"a": TaskState(state)}, ["a"], cancelled=True) == []


def test_ten_thousand_tasks_behind_a_failure_need_no_recursion() -> None:
    """docs/reliability.md, C5."""
    count = 10_000
    job = Job(name="j", tasks=tuple(task(f"t{i}", *([f"t{i - 1}"] if i else [])) for i in range(count)))
    graph = build(job.tasks)
    states = dict.fromkeys(graph.order, BLOCKED) | {"t0": ended(R.FAILED)}
    assert len(decide(job, graph, states, ["t1"])) == count - 1


# -- cancelled runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_if", list(RunIf))
@pytest.mark.parametrize("result", list(CLASS))
def test_in_a_cancelled_run_only_tasks_that_handle_failure_still_start(run_if: RunIf, result: Result) -> None:
    """``docs/semantics.md``, section 2: what would not have run ends as it would have without the cancel."""
    child = task("child", "a", run_if=run_if)
    free, cancelled = decided(child, a=ended(result)), decided(child, a=ended(result), cancelled=True)
    if free == Start("child") and run_if not in (RunIf.ALL_DONE, RunIf.AT_LEAST_ONE_FAILED, RunIf.ALL_FAILED):
        assert cancelled == Finish("child", R.CANCELED, "the run was cancelled before this task started")
    else:
        assert cancelled == free


@pytest.mark.parametrize("run_if", list(RunIf))
def test_in_a_cancelled_run_no_task_without_upstreams_starts(run_if: RunIf) -> None:
    """``docs/semantics.md``, section 2: it has nothing to clean up."""
    decision = decided(task("child", run_if=run_if), cancelled=True)
    assert isinstance(decision, Finish)
    assert decision.result is R.CANCELED


def test_a_cancelled_run_ends_what_waits_and_cleans_up() -> None:
    """``docs/semantics.md``, section 2: cancel spreads."""
    job = Job(
        name="j",
        tasks=(
            task("a"),
            task("b"),
            task("c", "a", "b"),
            task("clean", "c", run_if=RunIf.ALL_DONE),
            task("end", "clean"),
        ),
    )
    graph = build(job.tasks)
    states = dict.fromkeys(graph.order, BLOCKED) | {
        "a": TaskState(LifeCycle.TERMINATING),
        "b": TaskState(LifeCycle.PENDING),
    }
    assert decide(job, graph, states, graph.order, cancelled=True) == [
        Finish("b", R.CANCELED, "the run was cancelled before this task started")
    ]
    states |= {"a": ended(R.CANCELED), "b": ended(R.CANCELED)}
    assert decide(job, graph, states, ["c"], cancelled=True) == [
        Finish("c", R.UPSTREAM_CANCELED, "upstream tasks a, b ended CANCELED (run_if ALL_SUCCESS)"),
        Start("clean"),
    ]


# -- the leaf rule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "leaf", "result"),
    [
        (R.SUCCESS, R.SUCCESS, R.SUCCESS),
        (R.SUCCESS, R.EXCLUDED, R.SUCCESS),
        (R.SUCCESS, R.DISABLED, R.SUCCESS),
        (R.EXCLUDED, R.EXCLUDED, R.SUCCESS),
        (R.DISABLED, R.DISABLED, R.SUCCESS),
        (R.FAILED, R.SUCCESS, R.SUCCESS_WITH_FAILURES),
        (R.TIMEDOUT, R.SUCCESS, R.SUCCESS_WITH_FAILURES),
        (R.UPSTREAM_FAILED, R.SUCCESS, R.SUCCESS_WITH_FAILURES),
        (R.FAILED, R.EXCLUDED, R.SUCCESS_WITH_FAILURES),
        (R.FAILED, R.DISABLED, R.SUCCESS_WITH_FAILURES),
        (R.CANCELED, R.SUCCESS, R.SUCCESS_WITH_FAILURES),
        (R.SUCCESS, R.FAILED, R.FAILED),
        (R.SUCCESS, R.TIMEDOUT, R.FAILED),
        (R.FAILED, R.UPSTREAM_FAILED, R.FAILED),
        (R.CANCELED, R.FAILED, R.FAILED),
        (R.SUCCESS, R.CANCELED, R.CANCELED),
        (R.CANCELED, R.UPSTREAM_CANCELED, R.CANCELED),
        (R.FAILED, R.CANCELED, R.CANCELED),
    ],
)
def test_the_leaves_decide_the_result_of_a_run(inner: Result, leaf: Result, result: Result) -> None:
    """``docs/semantics.md``, section 3."""
    job = Job(name="j", tasks=(task("inner"), task("leaf", "inner")))
    found = run_result(job, build(job.tasks), {"inner": ended(inner), "leaf": ended(leaf)})
    assert found is not None
    assert found[0] is result


def test_one_failed_leaf_among_many_fails_the_run_and_beats_a_cancelled_one() -> None:
    """``docs/semantics.md``, section 3."""
    job = Job(name="j", tasks=(task("a"), task("b"), task("c")))
    states = {"a": ended(R.SUCCESS), "b": ended(R.CANCELED), "c": ended(R.FAILED)}
    assert run_result(job, build(job.tasks), states) == (R.FAILED, "task c failed")


def test_the_result_names_what_failed_and_the_leaf_it_reached() -> None:
    """``docs/semantics.md``, section 3."""
    job = Job(name="j", tasks=(task("bronze"), task("silver", "bronze"), task("gold", "silver")))
    states = {"bronze": ended(R.FAILED), "silver": ended(R.UPSTREAM_FAILED), "gold": ended(R.UPSTREAM_FAILED)}
    assert run_result(job, build(job.tasks), states) == (
        R.FAILED,
        "task bronze failed; leaf task gold ended UPSTREAM_FAILED",
    )


def test_a_leaf_that_the_engine_lost_fails_the_run() -> None:
    """``docs/semantics.md``, section 3."""
    job = Job(name="j", tasks=(task("a"),))
    found = run_result(job, build(job.tasks), {"a": TaskState(LifeCycle.INTERNAL_ERROR, R.FAILED)})
    assert found == (R.FAILED, "task a failed")


@pytest.mark.parametrize("state", [state for state in LifeCycle if not state.ended])
def test_a_run_has_no_result_while_a_task_has_not_ended(state: LifeCycle) -> None:
    """``docs/semantics.md``, section 3: also when a leaf has failed already."""
    job = Job(name="j", tasks=(task("a"), task("b")))
    assert run_result(job, build(job.tasks), {"a": TaskState(state), "b": ended(R.FAILED)}) is None


# -- retries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_retries", "on_timeout", "attempt", "result", "expected"),
    [
        (0, False, 0, R.FAILED, False),
        (1, False, 0, R.FAILED, True),
        (1, False, 1, R.FAILED, False),
        (3, False, 2, R.FAILED, True),
        (-1, False, 1_000_000, R.FAILED, True),
        (3, False, 0, R.TIMEDOUT, False),
        (3, True, 0, R.TIMEDOUT, True),
        (3, True, 3, R.TIMEDOUT, False),
        (-1, False, 0, R.TIMEDOUT, False),
        (-1, True, 0, R.CANCELED, False),
        (-1, True, 0, R.SUCCESS, False),
        (-1, True, 0, R.UPSTREAM_FAILED, False),
    ],
)
def test_an_attempt_is_repeated_when_it_failed_and_retries_are_left(
    max_retries: int, on_timeout: bool, attempt: int, result: Result, expected: bool
) -> None:
    """``docs/semantics.md``, section 4."""
    retried = Task(task_key="t", kind="shell", max_retries=max_retries, retry_on_timeout=on_timeout)
    assert (retry_at(retried, attempt, result, started=1_000, now=5_000) is not None) is expected


@pytest.mark.parametrize(
    ("interval", "now", "expected"),
    [(0, 5_000, 5_000), (10_000, 5_000, 11_000), (10_000, 11_000, 11_000), (10_000, 60_000, 60_000)],
)
def test_the_retry_interval_counts_from_the_start_of_the_failed_attempt(interval: int, now: int, expected: int) -> None:
    """``docs/semantics.md``, section 4: an attempt that took longer than the interval is repeated at once."""
    retried = Task(task_key="t", kind="shell", max_retries=1, min_retry_interval_millis=interval)
    assert retry_at(retried, 0, R.FAILED, started=1_000, now=now) == expected


# -- warnings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "hidden"),
    [
        ((task("a"), task("b", "a")), ""),
        ((task("a"), task("b", "a"), task("clean", "b", run_if=RunIf.ALL_DONE)), "a, b"),
        ((task("a"), task("clean", "a", run_if=RunIf.ALL_DONE), task("b", "a")), ""),
        ((task("a"), task("alert", "a", run_if=RunIf.AT_LEAST_ONE_FAILED)), "a"),
        ((task("a"), task("b", "a", run_if=RunIf.NONE_FAILED)), ""),
        ((task("a"), task("b", "a", run_if=RunIf.AT_LEAST_ONE_SUCCESS)), ""),
        ((task("a"), task("b"), task("c", "a", "b", run_if=RunIf.AT_LEAST_ONE_SUCCESS)), "a, b"),
        ((task("a"), task("b", "a", disabled=True)), "a"),
        ((*(task(key) for key in "abcde"), task("clean", *"abcde", run_if=RunIf.ALL_DONE)), "a, b, c and 2 more"),
    ],
)
def test_failures_that_no_leaf_would_show_are_warned_about(tasks: tuple[Task, ...], hidden: str) -> None:
    """``docs/semantics.md``, section 3: a lone ALL_DONE clean-up leaf hides every failure."""
    job = Job(name="j", tasks=tasks)
    found = [text for text in warnings(job, build(tasks)) if "leaf rule" in text]
    assert [text.split(" can never ")[0] for text in found] == (
        [f"by the leaf rule a failure of {hidden}"] if hidden else []
    )


def test_a_run_if_that_decides_nothing_is_warned_about() -> None:
    """``docs/semantics.md``, section 2."""
    job = Job(name="j", tasks=(task("a", run_if=RunIf.ALL_FAILED),))
    assert warnings(job, build(job.tasks)) == ["task a: run_if ALL_FAILED has no effect because it depends on no task"]
