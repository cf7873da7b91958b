"""Conditions, for_eachs and run_jobs on a real store, without processes (docs/semantics.md, section 6)."""

from __future__ import annotations

import json

import msgspec
import pytest
from controlled import (
    World,
    condition,
    dependencies,
    echo,
    failure,
    for_each,
    iterations,
    job,
    results,
    run_job,
    succeed,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from wfengine import conditions
from wfengine.errors import DiskFullError, TaskFailed
from wfengine.finding import Finder
from wfengine.jobs import Parameter
from wfengine.loops import Loop, inputs_of
from wfengine.nesting import refusal
from wfengine.states import LifeCycle, Result, RunIf, Trigger


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    yield made
    made.fleet.close()
    made.store.close()


# -- conditions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "left", "right", "outcome"),
    [
        ("EQUAL_TO", "12.0", "12", False),
        ("EQUAL_TO", "a", "a", True),
        ("NOT_EQUAL", "12.0", "12", True),
        ("GREATER_THAN", "12.0", "12", False),
        ("GREATER_THAN_OR_EQUAL", "12.0", "12", True),
        ("GREATER_THAN", "9", "10", False),
        ("LESS_THAN", "-1", " 0 ", True),
        ("LESS_THAN_OR_EQUAL", "1e2", "100", True),
        ("GREATER_THAN", "9007199254740993", "9007199254740992", True),
    ],
)
def test_equality_compares_text_and_order_compares_numbers(op, left, right, outcome):
    assert conditions.holds(op, left, right) is outcome


@pytest.mark.parametrize("text", ["", "x", "1_000", "nan", "inf", "0x10", "true", "1,5", "١"])
def test_what_is_no_number_is_refused_with_its_side(text):
    with pytest.raises(TaskFailed, match=r"condition_task.right: .* is not a number, and LESS_THAN compares numbers"):
        conditions.holds("LESS_THAN", "1", text)


@pytest.mark.parametrize(("right", "taken", "left_out"), [("1", "yes", "no"), ("2", "no", "yes")])
def test_only_the_arm_of_the_outcome_runs_and_a_join_runs_either_way(world, right, taken, left_out):
    run = world.run(
        job(
            condition("c", "EQUAL_TO", "1", right),
            echo("yes", "c=true"),
            echo("no", "c=false"),
            echo("either", "c"),
            echo("join", "yes", "no"),
        )
    )
    assert results(run) == {
        "c": "SUCCESS", taken: "SUCCESS", left_out: "EXCLUDED", "either": "SUCCESS", "join": "SUCCESS",
    }  # fmt: skip
    assert run.latest()["c"].outcome == ("true" if right == "1" else "false")
    assert [payload["identity"]["task_key"] for payload in world.executor.started] == [taken, "either", "join"]


def test_a_condition_whose_side_is_no_number_fails_with_a_sentence(world):
    run = world.run(
        job(condition("c", "LESS_THAN", "{{job.parameters.n}}", "3"), echo("after", "c=true")), {"n": "many"}
    )
    assert results(run) == {"c": "FAILED", "after": "UPSTREAM_FAILED"}
    assert (
        run.latest()["c"].error.message == "condition_task.left: 'many' is not a number, and LESS_THAN compares numbers"
    )
    assert world.executor.started == []


def test_a_thousand_conditions_in_a_chain_need_no_process(world):
    tasks = [condition("c0", "EQUAL_TO", "a", "a")]
    tasks += [condition(f"c{n}", "EQUAL_TO", "a", "a", f"c{n - 1}=true") for n in range(1, 1000)]
    assert world.run(job(*tasks)).result is Result.SUCCESS


def test_a_task_value_decides_a_condition(world):
    world.executor.answer = lambda payload: {"status": "success", "values": {"rows": 5}}
    run = world.run(
        job(
            echo("load"), condition("c", "GREATER_THAN", "{{tasks.load.values.rows}}", "4", "load"), echo("x", "c=true")
        )
    )
    assert results(run)["x"] == "SUCCESS"
    assert run.latest()["c"].resolved == {"op": "GREATER_THAN", "left": "5", "right": "4"}


@st.composite
def graphs(draw):
    """Random jobs of conditions and other tasks."""
    count = draw(st.integers(1, 9))
    tasks = []
    for i in range(count):
        upstreams = draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else []
        words = []
        for j in upstreams:
            arm = draw(st.sampled_from(["", "=true", "=false"])) if tasks[j].kind == "condition" else ""
            words.append(f"t{j}{arm}")
        run_if = draw(st.sampled_from(list(RunIf)))
        if draw(st.booleans()):
            left = draw(st.sampled_from(["a", "b", "{{job.parameters.none}}"]))
            tasks.append(condition(f"t{i}", "EQUAL_TO", left, "a", *words, run_if=run_if))
        else:
            tasks.append(echo(f"t{i}", *words, run_if=run_if))
    bad = draw(st.frozensets(st.sampled_from([task.task_key for task in tasks])))
    return tasks, bad


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 3))
def test_whatever_the_graph_a_run_with_conditions_ends_and_the_order_of_ends_changes_nothing(
    tmp_path_factory, drawn, slots
):
    """docs/semantics.md, sections 2, 3 and 6."""
    tasks, bad = drawn

    def outcome(payload):
        return failure("no") if payload["identity"]["task_key"] in bad else {"status": "success"}

    found = []
    for max_tasks in (1000, slots):
        world = World(tmp_path_factory.mktemp("w"), answer=outcome, max_tasks=max_tasks)
        run = world.run(job(*tasks))
        found.append((results(run), run.result, {key: a.outcome for key, a in run.latest().items()}))
        world.fleet.close()
        world.store.close()
    assert found[0] == found[1]
    assert "None" not in found[0][0].values()


# -- for_each -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["5", '{"a": 1}', "[1", "", "x", "null"])
def test_inputs_that_are_no_array_are_refused_with_the_value(text):
    with pytest.raises(TaskFailed, match=r"for_each_task.inputs: .* is not a JSON array"):
        inputs_of(text)


def test_more_than_five_thousand_inputs_are_refused():
    assert len(inputs_of(list(range(5000)))) == 5000
    with pytest.raises(TaskFailed, match="has 5001 elements; at most 5000 are allowed"):
        inputs_of(json.dumps(list(range(5001))))


def test_a_loop_has_never_more_going_than_its_concurrency_and_skips_none():
    loop, seen = Loop(list(range(7)), 3), []
    while not loop.done:
        seen += loop.next()
        assert len(loop.going) <= 3
        loop.end(loop.going[-1], Result.SUCCESS)
    assert sorted(seen) == list(range(7))
    assert loop.verdict() == (Result.SUCCESS, "7 iterations")


def test_every_input_is_one_iteration_with_its_own_id_and_its_own_folder(world):
    nested = echo("inner", text="{{input.name}} {{input}} {{task.name}}")
    run = world.run(job(for_each("loop", [{"name": "a"}, {"name": "b"}], nested, concurrency=2)))
    texts = [payload["config"]["text"] for payload in world.executor.started]
    assert texts == ['a {"name":"a"} inner', 'b {"name":"b"} inner']
    assert [payload["identity"]["iteration"] for payload in world.executor.started] == [0, 1]
    assert len({payload["folder"] for payload in world.executor.started}) == 2
    assert len({a.run_id for a in (*run.attempts, *run.iterations)}) == 3
    assert (run.result, results(run), iterations(run, "loop")) == (Result.SUCCESS, {"loop": "SUCCESS"}, {"SUCCESS": 2})


@pytest.mark.parametrize("inputs", ["{{job.parameters.list}}", "{{tasks.before.values.list}}"])
def test_inputs_come_from_parameters_and_from_task_values(world, inputs):
    world.executor.answer = lambda payload: {"status": "success", "values": {"list": [1, "x", None]}}
    loop = for_each("loop", inputs, echo("inner", text="{{input}}"))
    run = world.run(
        job(echo("before"), echo("loop_", "before"), condition("c", "EQUAL_TO", "", "", "loop_"), loop)
        if "parameters" in inputs
        else job(echo("before"), for_each_behind(loop, "before")),
        {"list": '[1, "x", null]'},
    )
    assert results(run)["loop"] == "SUCCESS"
    texts = [payload["config"]["text"] for payload in world.executor.started if payload["identity"]["iteration"] >= 0]
    assert texts == ["1", "x", "null"]


def for_each_behind(task, key):
    return msgspec.structs.replace(task, depends_on=dependencies((key,)))


def test_a_failed_iteration_fails_the_task_and_the_others_go_on(world):
    world.executor.answer = lambda p: failure("no") if p["identity"]["iteration"] in (1, 3) else succeed(p)
    run = world.run(job(for_each("loop", [0, 1, 2, 3, 4], echo("inner"), concurrency=2), echo("other")))
    assert results(run) == {"loop": "FAILED", "other": "SUCCESS"}
    assert iterations(run, "loop") == {"SUCCESS": 3, "FAILED": 2}
    assert run.latest()["loop"].message == "2 of 5 iterations did not succeed: 1, 3"


def test_retries_are_those_of_the_nested_task_and_cost_the_others_nothing(world):
    tries = []

    def answer(payload):
        tries.append(payload["identity"]["iteration"])
        return failure("no") if tries.count(1) < 3 and tries[-1] == 1 else succeed(payload)

    world.executor.answer = answer
    nested = echo("inner", max_retries=2, min_retry_interval_millis=500)
    run = world.run(job(for_each("loop", [0, 1, 2], nested)))
    assert run.result is Result.SUCCESS
    assert [(a.iteration, a.attempt_number) for a in run.iterations] == [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0)]


def test_no_inputs_succeed_with_a_warning(world):
    run = world.run(job(for_each("loop", "[]", echo("inner"))))
    assert run.result is Result.SUCCESS
    assert run.latest()["loop"].facts.warnings == ("there were no inputs, so nothing was done",)


def test_inputs_that_are_no_array_fail_the_task(world):
    run = world.run(job(for_each("loop", "{{job.parameters.p}}", echo("inner"))), {"p": "abc"})
    assert run.latest()["loop"].error.message == "for_each_task.inputs: 'abc' is not a JSON array"


def test_iterations_take_slots_and_the_loop_takes_none(tmp_path):
    world = World(tmp_path / "home", max_tasks=1)
    run = world.run(job(for_each("loop", [1, 2, 3], echo("inner"), concurrency=3)))
    assert (run.result, world.executor.most) == (Result.SUCCESS, 1)
    world.store.close()


def test_at_most_concurrency_iterations_are_alive(world):
    world.run(job(for_each("loop", list(range(20)), echo("inner"), concurrency=4)))
    assert world.executor.most == 4


def test_cancelling_stops_what_goes_and_drops_what_waits(world):
    world.executor.answer = lambda p: succeed(p) if p["identity"]["iteration"] == 0 else None
    run_id = world.begin(job(for_each("loop", [0, 1, 2, 3], echo("inner"), concurrency=2), echo("after", "loop")))
    world.turn()
    world.fleet.cancel(run_id)
    run = world.finish(run_id)
    assert results(run) == {"loop": "CANCELED", "after": "UPSTREAM_CANCELED"}
    assert iterations(run, "loop") == {"SUCCESS": 1, "CANCELED": 3}
    assert run.result is Result.CANCELED


def test_cancelling_the_task_alone_lets_the_run_go_on(world):
    world.executor.answer = lambda p: None if p["identity"]["iteration"] >= 0 else succeed(p)
    run_id = world.begin(job(for_each("loop", [0, 1], echo("inner"), concurrency=1), echo("other")))
    world.fleet.cancel_task(run_id, "loop")
    run = world.finish(run_id)
    assert results(run) == {"loop": "CANCELED", "other": "SUCCESS"}


def test_a_loop_out_of_time_stops_its_iterations(world):
    world.executor.answer = lambda payload: None
    loop = for_each("loop", [0, 1, 2], echo("inner", max_retries=5), concurrency=2, timeout_seconds=3)
    run = world.run(job(loop))
    assert results(run) == {"loop": "TIMEDOUT"}
    assert iterations(run, "loop") == {"CANCELED": 3}


def test_an_iteration_out_of_time_is_timed_out_alone(world):
    world.executor.answer = lambda p: None if p["identity"]["iteration"] == 1 else succeed(p)
    run = world.run(job(for_each("loop", [0, 1, 2], echo("inner", timeout_seconds=3), concurrency=3)))
    assert results(run) == {"loop": "FAILED"}
    assert iterations(run, "loop") == {"SUCCESS": 2, "TIMEDOUT": 1}


def test_a_loop_is_taken_up_where_it_stood_and_nothing_finished_is_repeated(world):
    """docs/reliability.md, D1: the next engine goes on; what was running ended with its engine and is retried."""
    world.executor.answer = lambda p: succeed(p) if p["identity"]["iteration"] < 2 else None
    nested = echo("inner", max_retries=1)
    run_id = world.begin(
        job(
            condition("c", "EQUAL_TO", "a", "a"),
            for_each_behind(for_each("loop", [0, 1, 2, 3, 4], nested, concurrency=2), "c"),
        )
    )
    for _ in range(3):
        world.turn()
    assert {p["identity"]["iteration"] for p in world.executor.alive.values()} == {2, 3}
    world.restart()
    world.fleet.take_up(run_id)
    run = world.finish(run_id)
    assert run.result is Result.SUCCESS
    again = [(p["identity"]["iteration"], p["identity"]["attempt_number"]) for p in world.executor.started]
    assert sorted(again) == [(2, 1), (3, 1), (4, 0)]
    lost = [a for a in run.iterations if a.state is LifeCycle.INTERNAL_ERROR]
    assert [(a.iteration, a.error.code) for a in lost] == [(2, "EngineDied"), (3, "EngineDied")]


def test_a_drained_loop_goes_on_with_the_iterations_that_were_stopped(world):
    world.executor.answer = lambda p: succeed(p) if p["identity"]["iteration"] == 0 else None
    run_id = world.begin(job(for_each("loop", [0, 1, 2], echo("inner"))))
    world.turn()
    world.fleet.drain(0)
    world.turn()
    assert world.fleet.drained
    world.restart()
    world.fleet.take_up(run_id)
    run = world.finish(run_id)
    assert (run.result, iterations(run, "loop")) == (Result.SUCCESS, {"SUCCESS": 3})
    assert [a.attempt_number for a in run.iterations] == [0, 0, 1, 0]


def test_conditions_can_stand_inside_a_loop(world):
    run = world.run(job(for_each("loop", ["a", "b"], condition("inner", "EQUAL_TO", "{{input}}", "a"))))
    assert [a.outcome for a in run.iterated("loop")] == ["true", "false"]


# -- run_job ------------------------------------------------------------------------------------------------------


def test_a_child_is_a_run_of_its_own_whose_result_decides(tmp_path):
    child = job(echo("t"), name="child")
    world = World(tmp_path / "home", (child,))
    run = world.run(job(run_job("r", "child"), echo("after", "r")))
    assert results(run) == {"r": "SUCCESS", "after": "SUCCESS"}
    made = world.store.run(run.latest()["r"].output["run_id"])
    assert (made.trigger, made.parent_run_id, made.parent_task_run_id) == (
        Trigger.RUN_JOB_TASK, run.run_id, run.latest()["r"].run_id,
    )  # fmt: skip
    world.store.close()


@pytest.mark.parametrize(
    ("tasks", "result"),
    [
        ((echo("t"), echo("clean", "t", run_if=RunIf.ALL_DONE)), "SUCCESS"),
        ((echo("t"),), "FAILED"),
    ],
)
def test_success_with_failures_counts_as_success(tmp_path, tasks, result):
    bad = job(*tasks, name="child")
    world = World(
        tmp_path / "home", (bad,), lambda p: failure("no") if p["identity"]["task_key"] == "t" else succeed(p)
    )
    run = world.run(job(run_job("r", "child")))
    assert results(run) == {"r": result}
    world.store.close()


def test_cancelling_the_parent_cancels_the_child(tmp_path):
    world = World(tmp_path / "home", (job(echo("t"), name="child"),), lambda payload: None)
    run_id = world.begin(job(run_job("r", "child")))
    child = world.store.child(world.store.run(run_id).latest()["r"].run_id)
    world.fleet.cancel(run_id)
    run = world.finish(run_id)
    assert (run.result, results(run)) == (Result.CANCELED, {"r": "CANCELED"})
    assert world.store.run(child).result is Result.CANCELED
    world.store.close()


def test_a_child_out_of_its_tasks_time_is_cancelled(tmp_path):
    world = World(tmp_path / "home", (job(echo("t"), name="child"),), lambda payload: None)
    run = world.run(job(run_job("r", "child", timeout_seconds=5)))
    assert results(run) == {"r": "TIMEDOUT"}
    world.store.close()


def test_jobs_that_would_start_each_other_without_end_are_refused_by_name(tmp_path):
    a, b = job(run_job("r", "b"), name="a"), job(run_job("r", "a"), name="b")
    world = World(tmp_path / "home", (a, b))
    run = world.run(a)
    assert run.result is Result.FAILED
    assert "jobs would start each other without end: a -> b -> a" in run.latest()["r"].message
    world.store.close()


def test_three_levels_run_and_the_fourth_is_refused(tmp_path):
    jobs = [job(run_job("r", f"j{n + 1}"), name=f"j{n}") for n in range(3)] + [job(echo("t"), name="j3")]
    world = World(tmp_path / "home", tuple(jobs))
    assert world.run(jobs[1]).result is Result.SUCCESS
    run = world.run(jobs[0])
    assert "at most 3 levels, and this is one more: j0 -> j1 -> j2 -> j3" in run.latest()["r"].message
    world.store.close()


def test_a_chain_is_judged_by_its_last_job():
    assert refusal(["a", "b", "c"]) == ""
    assert "a -> a" in refusal(["a", "a"])


def test_parent_and_child_are_taken_up_together(tmp_path):
    """docs/reliability.md, D1: no second child is made."""
    world = World(tmp_path / "home", (job(echo("t", max_retries=1), name="child"),), lambda payload: None)
    run_id = world.begin(job(run_job("r", "child")))
    child = world.store.child(world.store.run(run_id).latest()["r"].run_id)
    world.restart()
    world.fleet.take_up(run_id)
    run = world.finish(run_id)
    assert (run.result, world.store.run(child).result) == (Result.SUCCESS, Result.SUCCESS)
    assert len(world.store.runs()) == 2
    world.store.close()


def test_a_child_over_its_jobs_limit_fails_the_task(tmp_path):
    """docs/semantics.md, section 7."""
    child = job(echo("t"), name="child", max_concurrent_runs=1)
    world = World(tmp_path / "home", (child,), lambda payload: None)
    world.begin(child)
    run = world.run(job(run_job("r", "child")))
    assert "SKIPPED" in run.latest()["r"].message or "MAXIMUM_CONCURRENT_RUNS_REACHED" in run.latest()["r"].message
    world.store.close()


def test_a_loop_over_jobs_runs_each_with_its_parameter(tmp_path):
    child = job(echo("t", text="{{job.parameters.p}}"), name="child", max_concurrent_runs=5)
    child = msgspec.structs.replace(child, parameters=(Parameter("p"),))
    world = World(tmp_path / "home", (child,))
    nested = run_job("inner", "child", job_parameters={"p": "{{input}}"})
    run = world.run(job(for_each("loop", ["x", "y"], nested, concurrency=2)))
    assert run.result is Result.SUCCESS
    assert sorted(p["config"]["text"] for p in world.executor.started) == ["x", "y"]
    world.store.close()


# -- a full disk, and where jobs are found ------------------------------------------------------------------------


@pytest.mark.parametrize("failing", range(1, 14))
def test_a_disk_that_is_full_for_a_while_only_delays_a_loop_and_a_child(tmp_path, failing):
    """docs/reliability.md, D3: whichever commit finds no space is repeated, and nothing is lost or done twice."""
    world = World(tmp_path / "home", (job(echo("t"), name="child"),))
    transaction, count = world.store.transaction, [0]

    def full(*arguments):
        count[0] += 1
        if count[0] in (failing, failing + 1):
            raise DiskFullError("no space")
        return transaction(*arguments)

    world.store.transaction = full
    nested = for_each("loop", [1, 2, 3], echo("inner", max_retries=1))
    run = world.run(job(echo("a"), for_each_behind(nested, "a"), run_job("r", "child", "loop"), echo("b", "r")))
    assert set(results(run).values()) == {"SUCCESS"}
    assert len(world.executor.started) == 6
    assert len(world.store.runs()) == 2
    world.store.close()


def test_a_job_is_found_beside_the_file_by_its_name_and_by_its_id(tmp_path, world):
    top = msgspec.structs.replace(job(run_job("r", "x"), name="top"), path=str(tmp_path / "top.yml"))
    (tmp_path / "top.yml").write_text("name: top\n# other")
    (tmp_path / "beside.yml").write_text("name: other")
    (tmp_path / "notes.txt").write_text("other")
    world.run(job(echo("t"), name="other"))
    asked = []

    def read(path, name):
        asked.append(path.name)
        return job(echo("t"), name="other") if path.name == "beside.yml" and name == "other" else None

    find = Finder(read, world.store)
    assert (find(top, "other").name, asked) == ("other", ["beside.yml"])
    assert find(top, str(world.store.runs()[0].job_id)).name == "other"
    with pytest.raises(TaskFailed, match=r"run_job_task: there is no job 'another' beside .*top.yml"):
        find(top, "another")


def test_a_bundle_is_asked_first_by_the_key(tmp_path):
    top = job(run_job("r", "below"), name="top", bundle=str(tmp_path / "databricks.yml"), key="top")
    found = Finder(lambda path, name: job(echo("t"), name=f"{path.name} {name}"), None)(top, "below")
    assert found.name == "databricks.yml below"
