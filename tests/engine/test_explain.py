from __future__ import annotations

import pytest

from wfengine.errors import UsageError
from wfengine.explain import Explanation, explain
from wfengine.jobs import Dependency, Job, Task
from wfengine.states import Result, RunIf


def task(key: str, *upstreams: str, run_if: RunIf = RunIf.ALL_SUCCESS, kind: str = "shell") -> Task:
    """Build a task; an upstream is written ``key`` or ``key=outcome``."""
    pairs = (upstream.partition("=") for upstream in upstreams)
    depends_on = tuple(Dependency(task_key=name, outcome=outcome or None) for name, _, outcome in pairs)
    return Task(task_key=key, kind=kind, depends_on=depends_on, run_if=run_if)


MEDALLION = Job(
    name="medallion",
    tasks=(
        task("bronze"),
        task("silver", "bronze"),
        task("gold", "silver"),
        task("alert", "gold", run_if=RunIf.AT_LEAST_ONE_FAILED),
    ),
)
BRANCHES = Job(
    name="branches",
    tasks=(
        task("check", kind="condition"),
        task("full", "check=true"),
        task("delta", "check=false"),
        task("join", "full", "delta"),
    ),
)


def told(explanation: Explanation) -> dict[str, tuple[Result, bool]]:
    return {one.task_key: (one.result, one.runs) for one in explanation.tasks}


def test_without_forced_results_every_task_succeeds() -> None:
    explanation = explain(MEDALLION, {})
    assert told(explanation) == {
        "bronze": (Result.SUCCESS, True),
        "silver": (Result.SUCCESS, True),
        "gold": (Result.SUCCESS, True),
        "alert": (Result.EXCLUDED, False),
    }
    assert explanation.result is Result.SUCCESS


def test_a_forced_failure_shows_what_it_blocks_what_it_wakes_and_how_the_run_ends() -> None:
    """``docs/semantics.md``, sections 2 and 3: the alert is the only leaf and succeeds."""
    explanation = explain(MEDALLION, {"silver": "FAILED"})
    assert told(explanation) == {
        "bronze": (Result.SUCCESS, True),
        "silver": (Result.FAILED, True),
        "gold": (Result.UPSTREAM_FAILED, False),
        "alert": (Result.SUCCESS, True),
    }
    assert explanation.result is Result.SUCCESS_WITH_FAILURES
    assert explanation.message == "task silver failed, but every leaf task succeeded"


def test_every_task_says_the_rule_that_decided() -> None:
    rules = {one.task_key: one.rule for one in explain(MEDALLION, {"silver": "TIMEDOUT"}).tasks}
    assert rules == {
        "bronze": "depends on no task",
        "silver": "all upstream tasks succeeded (run_if ALL_SUCCESS)",
        "gold": "upstream task silver timed out (run_if ALL_SUCCESS)",
        "alert": "at least one upstream task failed (run_if AT_LEAST_ONE_FAILED)",
    }


@pytest.mark.parametrize(
    ("forced", "runs", "excluded"),
    [({}, "full", "delta"), ({"check": "true"}, "full", "delta"), ({"check": "false"}, "delta", "full")],
)
def test_a_condition_takes_the_arm_that_is_forced(forced: dict[str, str], runs: str, excluded: str) -> None:
    """``docs/semantics.md``, section 2: the other arm is EXCLUDED and a join after both runs."""
    found = told(explain(BRANCHES, forced))
    assert found[runs] == (Result.SUCCESS, True)
    assert found[excluded] == (Result.EXCLUDED, False)
    assert found["join"] == (Result.SUCCESS, True)


def test_an_arm_says_the_outcome_it_waited_for() -> None:
    rules = {one.task_key: one.rule for one in explain(BRANCHES, {"check": "false"}).tasks}
    assert rules["full"] == "condition check came out false, not true"
    assert rules["delta"] == "condition check came out false, all upstream tasks succeeded (run_if ALL_SUCCESS)"


def test_a_condition_can_fail() -> None:
    found = told(explain(BRANCHES, {"check": "FAILED"}))
    assert found["full"] == found["delta"] == found["join"] == (Result.UPSTREAM_FAILED, False)


@pytest.mark.parametrize(
    ("job", "forced", "message"),
    [
        (MEDALLION, {"bronse": "FAILED"}, r"the job has no task 'bronse' \(did you mean 'bronze'\?\)"),
        (MEDALLION, {"bronze": "FAILD"}, r"task bronze cannot end as 'FAILD' \(did you mean 'FAILED'\?\)"),
        (MEDALLION, {"bronze": "failed"}, r"did you mean 'FAILED'\?"),
        (
            MEDALLION,
            {"bronze": "true"},
            r"task bronze cannot end as 'true' \(it can be SUCCESS, FAILED, TIMEDOUT, CANCELED\)",
        ),
        (MEDALLION, {"bronze": "EXCLUDED"}, "cannot end as 'EXCLUDED'"),
        (BRANCHES, {"check": "maybe"}, "it can be SUCCESS, FAILED, TIMEDOUT, CANCELED, true, false"),
        (BRANCHES, {"check": "True"}, "cannot end as 'True'"),
    ],
)
def test_what_cannot_be_forced_is_refused_with_what_can(job: Job, forced: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explain(job, forced)


def test_a_chain_of_ten_thousand_tasks_is_explained() -> None:
    """docs/reliability.md, C5: nothing here recurses, and a failure at the start is told to the end."""
    count = 10_000
    chain = Job(name="chain", tasks=tuple(task(f"t{i}", *([f"t{i - 1}"] if i else [])) for i in range(count)))
    assert [one.result for one in explain(chain, {"t0": "FAILED"}).tasks] == [
        Result.FAILED,
        *[Result.UPSTREAM_FAILED] * (count - 1),
    ]


def test_control_tasks_say_what_they_do() -> None:
    """docs/semantics.md, section 6."""
    inner = Task(task_key="one", kind="shell")
    tasks = (
        Task(task_key="c", kind="condition", config={"op": "EQUAL_TO", "left": "{{job.id}}", "right": "1"}),
        Task(task_key="loop", kind="for_each", config={"inputs": [1, 2], "concurrency": 2}, nested=inner),
        Task(task_key="other", kind="run_job", config={"job_name": "nightly"}, depends_on=(Dependency("c", "false"),)),
    )
    found = explain(Job(name="j", tasks=tasks), {"c": "false", "loop": "FAILED"})
    assert [(task.task_key, str(task.result), task.rule) for task in found.tasks] == [
        ("c", "SUCCESS", "depends on no task; compares '{{job.id}}' EQUAL_TO '1'"),
        ("loop", "FAILED", "depends on no task; runs one (shell) for 2 inputs, 2 at a time"),
        (
            "other",
            "SUCCESS",
            "condition c came out false, all upstream tasks succeeded (run_if ALL_SUCCESS); runs job nightly",
        ),
    ]
