"""What would happen: the daemon's own code with time and attempts in thought."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ticking import DAY, HOUR, HOURLY, MINUTE, SECOND, at, job

from wfengine import settings
from wfengine.errors import UsageError
from wfengine.executor import Launch, Report, ending
from wfengine.jobs import Dependency, Job, Schedule, Task
from wfengine.layer import Layer
from wfengine.runs import JobRun
from wfengine.simulation import (
    JobReport,
    Scene,
    Script,
    SimulatedExecutor,
    Simulation,
    VirtualClock,
    play,
    playing,
    report,
    world,
)
from wfengine.states import Result, RunIf
from wfengine_layers.shell import ShellLayer

START = at("2026-03-01 00:00")


class NeedsSpark(ShellLayer):
    name = "sparkling"
    needs_spark = True


LAYERS: dict[str, type[Layer[Any]]] = {"shell": ShellLayer, "sparkling": NeedsSpark}


def task(key: str, *upstream: str, **more: Any) -> Task:
    given = {"kind": "shell", "config": {"command": ["true"]}} | more
    return Task(task_key=key, depends_on=tuple(map(Dependency, upstream)), **given)


def chain(**more: Any) -> Job:
    """A nightly job of two tasks."""
    return Job(name="nightly", tasks=(task("bronze", **more), task("silver", "bronze")), path="/conf/nightly.yml")


def scene(*jobs: Job, start: int = START, **more: Any) -> Scene:
    found = settings.load(Path("/"), environ={})
    return Scene(
        jobs={job.name: job for job in jobs}, layers=LAYERS, settings=found, start=start, script=Script(jobs), **more
    )


@pytest.fixture
def simulate() -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda *jobs, **more: stack.enter_context(Simulation(scene(*jobs, **more)))


def results(run: JobRun) -> dict[str, str]:
    return {key: str(attempt.result) for key, attempt in run.latest().items()}


def told(found: JobReport) -> tuple[int, int, int, int]:
    return found.due, found.started, found.skipped, found.queued


# -- time and processes ---------------------------------------------------------------------------------------------


def launch(number: int, key: str = "a", attempt: int = 0, due: int = START) -> Launch:
    who = {"job_name": "j", "task_key": key, "attempt_number": attempt, "trigger_time": due}
    return Launch(id=number, payload={"identity": who}, log=Path("log"), cwd=Path("/"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def script() -> Script:
    return Script([Job(name="j", tasks=(task("a"), task("b")), path="/j.yml")])


def test_the_clock_moves_both_of_its_times_and_never_goes_back(clock):
    clock.move(START + 1500)
    clock.move(START)
    assert (clock.now_ms(), clock.monotonic()) == (START + 1500, 1.5)


def test_attempts_end_in_the_order_of_time_and_not_before_it(clock, script):
    script.duration("a", 30 * SECOND)
    script.duration("b", 10 * SECOND)
    executor = SimulatedExecutor(clock, script)
    executor.start(launch(1, "a"))
    executor.start(launch(2, "b"))
    assert (executor.poll(None), executor.next_end()) == ([], START + 10 * SECOND)
    clock.move(START + 10 * SECOND)
    assert [report.id for report in executor.poll(None)] == [2]
    clock.move(START + HOUR)
    assert [report.id for report in executor.poll(None)] == [1]
    assert executor.next_end() is None


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_stopped_attempt_ends_at_once_and_once(clock, script, how):
    executor = SimulatedExecutor(clock, script)
    executor.start(launch(1))
    executor.stop(1, 10) if how == "stop" else executor.kill(1)
    executor.kill(1)
    assert executor.next_end() == START
    (ended,) = executor.poll(0)
    assert (ended.id, ended.kind, ended.cause, ending(ended)[0]) == (1, "ended", "stopped", Result.FAILED)
    clock.move(START + DAY)
    assert executor.poll(0) == []


def test_an_attempt_that_is_to_fail_says_that_the_simulation_lets_it(clock, script):
    script.fail("a", attempts=[0])
    executor = SimulatedExecutor(clock, script)
    executor.start(launch(1))
    executor.start(launch(2, attempt=1))
    clock.move(START + MINUTE)
    first, second = executor.poll(0)
    assert ending(first)[0] is Result.FAILED
    assert ending(first)[1].code == "Simulated"
    assert ending(second) == (Result.SUCCESS, None)
    assert isinstance(first, Report)


# -- the script -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fail", "succeed"])
def test_an_unknown_task_is_answered_with_the_one_that_was_meant(script, call):
    with pytest.raises(UsageError, match=r"'aa'.*did you mean 'a'"):
        getattr(script, call)("aa")


def test_a_duration_must_not_be_negative_and_its_task_must_exist(script):
    with pytest.raises(UsageError, match="-1 ms"):
        script.duration("a", -1)
    with pytest.raises(UsageError, match="no task 'nowhere'"):
        script.duration("nowhere", 1)


def test_the_name_with_the_job_beats_the_name_of_the_task_alone():
    script = Script([chain(), job("other")])
    script.duration("nightly/bronze", 1)
    script.duration("bronze", 2)
    assert script.ending("nightly", "bronze", 0, START).duration_ms == 1
    assert script.ending("nightly", "silver", 0, START).duration_ms == MINUTE


def test_the_day_of_a_failure_is_one_in_the_zone_of_the_job():
    """docs/testing.md: an hour before midnight in UTC it is the next day in Berlin."""
    berlin = Schedule(quartz_cron_expression="0 30 0 * * ?", timezone_id="Europe/Berlin")
    script = Script([job("berlin", schedule=berlin), job("utc")])
    script.fail("t", day=date(2026, 6, 2))
    instant = at("2026-06-01 22:30")
    assert script.ending("berlin", "t", 0, instant).record["status"] == "failed"
    assert script.ending("utc", "t", 0, instant).record["status"] == "success"


def test_success_takes_a_failure_back_and_brings_its_output(script):
    script.fail("a")
    script.succeed("a", output=[1], values={"k": 2})
    assert script.ending("j", "a", 0, START).record == {"status": "success", "output": [1], "values": {"k": 2}}


# -- runs -----------------------------------------------------------------------------------------------------------


def test_a_run_takes_as_long_as_its_tasks_one_after_the_other(simulate):
    sim = simulate(chain())
    sim.scene.script.duration("silver", 5 * MINUTE)
    run = sim.run("nightly", {})
    assert (run.result, run.end_time - run.start_time, sim.now) == (Result.SUCCESS, 6 * MINUTE, START + 6 * MINUTE)


def test_retries_wait_for_their_interval(simulate):
    """docs/semantics.md, section 4: from the start of the failed attempt to the start of the next."""
    sim = simulate(chain(max_retries=2, min_retry_interval_millis=10 * MINUTE))
    sim.scene.script.fail("bronze", attempts=[0, 1])
    run = sim.run("nightly", {})
    starts = [attempt.start_time - START for attempt in run.attempts if attempt.task_key == "bronze"]
    assert starts == [0, 10 * MINUTE, 20 * MINUTE]
    assert run.result is Result.SUCCESS


def test_an_attempt_beyond_its_timeout_ends_timed_out_at_that_very_millisecond(simulate):
    sim = simulate(chain(timeout_seconds=7))
    run = sim.run("nightly", {})
    bronze = run.latest()["bronze"]
    assert (bronze.result, bronze.end_time - bronze.start_time) == (Result.TIMEDOUT, 7 * SECOND)
    assert results(run) == {"bronze": "TIMEDOUT", "silver": "UPSTREAM_FAILED"}


def test_a_run_beyond_the_timeout_of_its_job_is_stopped(simulate):
    """docs/semantics.md, section 4."""
    sim = simulate(job("slow", timeout_seconds=30))
    run = sim.run("slow", {})
    assert (run.result, run.end_time - run.start_time) == (Result.TIMEDOUT, 30 * SECOND)


def test_run_if_and_the_leaf_rule_are_those_of_the_engine(simulate):
    """docs/semantics.md, sections 2 and 3."""
    tasks = (task("a"), task("b", "a"), task("c", "a", run_if=RunIf.ALL_FAILED))
    sim = simulate(Job(name="rules", tasks=tasks, path="/rules.yml"))
    sim.scene.script.fail("a")
    run = sim.run("rules", {})
    assert results(run) == {"a": "FAILED", "b": "UPSTREAM_FAILED", "c": "SUCCESS"}
    assert run.result is Result.FAILED


def test_a_task_with_spark_needs_no_server_and_costs_no_further_turns(simulate):
    sim = simulate(Job(name="sparks", tasks=(task("a", kind="sparkling"),), path="/sparks.yml"))
    sim.scene.script.duration("a", 30 * DAY)
    assert sim.run("sparks", {}).end_time == START + 30 * DAY


def test_values_reach_the_references_of_later_tasks(simulate):
    """docs/semantics.md, section 5."""
    last = task("b", "a", config={"command": ["echo", "{{tasks.a.values.rows}}"]})
    sim = simulate(Job(name="handing", tasks=(task("a"), last), path="/handing.yml"))
    sim.scene.script.succeed("a", values={"rows": 12})
    assert sim.run("handing", {}).latest()["b"].resolved == {"command": ["echo", "12"]}


def test_a_limit_of_tasks_holds_over_all_jobs(simulate):
    sim = simulate(job("one"), job("two"), max_tasks=1)
    sim.advance(START + 10 * MINUTE)
    spans = sorted((run.latest()["t"].start_time, run.latest()["t"].end_time) for run in sim.runs() if run.succeeded)
    assert spans
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_control_tasks_are_carried_out_and_what_they_run_is_simulated(simulate):
    """docs/semantics.md, section 6."""
    question = {"op": "EQUAL_TO", "left": "{{tasks.a.values.n}}", "right": "1"}
    parent = Job(
        name="parent",
        path="/parent.yml",
        tasks=(
            task("a"),
            task("ask", "a", kind="condition", config=question),
            Task(task_key="yes", kind="shell", config={"command": []}, depends_on=(Dependency("ask", "true"),)),
            Task(task_key="no", kind="shell", config={"command": []}, depends_on=(Dependency("ask", "false"),)),
            task("each", kind="for_each", config={"inputs": '["x", "y"]'}, nested=task("one")),
            task("start", kind="run_job", config={"job_name": "child"}),
        ),
    )
    sim = simulate(parent, job("child", schedule=None))
    sim.scene.script.succeed("a", values={"n": 2})
    sim.scene.script.fail("one")
    sim.scene.script.duration("child/t", HOUR)
    run = sim.run("parent", {})
    ended = results(run)
    assert (ended["yes"], ended["no"], ended["each"], ended["start"]) == ("EXCLUDED", "SUCCESS", "FAILED", "SUCCESS")
    assert run.end_time - run.start_time == HOUR
    with pytest.raises(UsageError, match="carried out by the engine itself"):
        sim.scene.script.fail("each")


def test_unknown_names_are_answered_with_those_that_were_meant(simulate):
    sim = simulate(chain())
    with pytest.raises(UsageError, match="did you mean 'nightly'"):
        sim.run("nigthly", {})
    with pytest.raises(UsageError, match="there is no job 'x'"):
        sim.ticks("x")
    with pytest.raises(UsageError, match="regoin"):
        sim.run("nightly", {"regoin": "eu"})


def test_time_that_will_never_come_is_an_error_and_no_endless_loop(simulate, monkeypatch):
    monkeypatch.setattr(world, "STANDSTILL", 100)
    sim = simulate(chain(max_retries=-1))
    sim.scene.script.fail("bronze")
    sim.scene.script.duration("bronze", 0)
    with pytest.raises(UsageError, match="time stands still"):
        sim.run("nightly", {})


# -- schedules ------------------------------------------------------------------------------------------------------


def test_what_is_due_at_the_start_is_due_and_at_the_end_is_not(simulate):
    sim = simulate(job("hourly", HOURLY))
    sim.advance(START + DAY)
    assert [tick.due for tick in sim.ticks()] == [START + hour * HOUR for hour in range(24)]
    assert sim.now == START + DAY


def test_time_in_steps_comes_to_the_same_as_in_one(simulate):
    whole, stepped = simulate(job("hourly", HOURLY)), simulate(job("hourly", HOURLY))
    for sim in (whole, stepped):
        sim.scene.script.duration("t", 90 * MINUTE)
        sim.scene.script.fail("t", day=date(2026, 3, 2))
    whole.advance(START + 3 * DAY)
    for step in range(1, 3 * 24 * 2 + 1):
        stepped.advance(START + step * HOUR // 2)
    assert report(whole) == report(stepped)


def test_a_slow_job_skips_the_ticks_that_find_it_at_its_limit():
    """docs/semantics.md, section 7."""
    set_up = scene(job("hourly", HOURLY))
    set_up.script.duration("t", 90 * MINUTE)
    (found,) = play(set_up, START + DAY)
    assert told(found) == (24, 12, 12, 0)
    assert found.results == {"SUCCESS": 12, "MAXIMUM_CONCURRENT_RUNS_REACHED": 12}
    assert found.overlaps == 0


def test_a_task_that_takes_just_its_interval_skips_nothing():
    set_up = scene(job("hourly", HOURLY))
    set_up.script.duration("t", HOUR)
    (found,) = play(set_up, START + DAY)
    assert told(found) == (24, 24, 0, 0)


def test_runs_overlap_as_far_as_the_limit_allows():
    set_up = scene(job("hourly", HOURLY, max_concurrent_runs=2))
    set_up.script.duration("t", 90 * MINUTE)
    (found,) = play(set_up, START + 10 * HOUR)
    assert told(found) == (10, 10, 0, 0)
    assert found.overlaps == 9


def test_a_queue_grows_and_what_has_waited_two_days_is_skipped_in_time():
    """docs/semantics.md, section 7: 48 hours."""
    set_up = scene(job("hourly", HOURLY, queue_enabled=True))
    set_up.script.duration("t", 24 * HOUR)
    (found,) = play(set_up, START + 4 * DAY)
    assert found.started == 4
    assert found.queued == 95
    assert found.longest_queue == 49
    assert found.longest_wait_ms == 48 * HOUR + 1
    assert found.results["MAXIMUM_CONCURRENT_RUNS_REACHED"] > 0
    assert found.results["SUCCESS"] == 3


def test_the_days_on_which_the_clocks_change_are_marked():
    """docs/semantics.md, section 7."""
    half_past_two = Schedule(quartz_cron_expression="0 30 2 * * ?", timezone_id="Europe/Berlin")
    start = at("2026-01-01 00:00")
    (found,) = play(scene(job("nightly", schedule=half_past_two), start=start), start + 365 * DAY)
    assert found.due == found.started == 365
    assert [(change.day, change.ticks, change.notes) for change in found.clock_changes] == [
        ("2026-03-29", 1, ("03:00 in the gap: moved",)),
        ("2026-10-25", 1, ("02:30 fold: first occurrence",)),
    ]


def test_a_periodic_trigger_counts_from_the_start(simulate):
    periodic = {"periodic": {"interval": 6, "unit": "HOURS"}}
    sim = simulate(job("every", schedule=None, trigger=periodic))
    sim.advance(START + DAY)
    assert [(tick.due - START) / HOUR for tick in sim.ticks()] == [6, 12, 18]


def test_a_continuous_job_follows_its_own_runs_and_slows_down_when_they_fail(simulate):
    sim = simulate(job("always", schedule=None, continuous={"pause_status": "UNPAUSED"}))
    sim.scene.script.duration("t", 9 * SECOND)
    sim.advance(START + 10 * MINUTE)
    well = len(sim.runs())
    sim.scene.script.fail("t")
    sim.advance(START + 20 * MINUTE)
    assert well == 60
    assert len(sim.runs()) - well < 10


def test_nothing_arrives_in_a_simulation_and_the_report_says_so():
    waiting = job("waiting", schedule=None, trigger={"file_arrival": {"url": "/conf"}})
    paused = job("paused", schedule=Schedule(quartz_cron_expression=HOURLY, pause_status="PAUSED"))
    by_hand = job("hand", schedule=None)
    found = {one.job: one for one in play(scene(waiting, paused, by_hand), START + DAY)}
    assert {told(one) for one in found.values()} == {(0, 0, 0, 0)}
    assert "nothing arrives" in found["waiting"].remark
    assert "pauses" in found["paused"].remark
    assert "by hand" in found["hand"].remark


def test_a_schedule_that_never_fires_is_said_and_stops_no_other():
    found = {one.job: one for one in play(scene(job("never", "0 0 0 30 2 ?"), job("hourly", HOURLY)), START + DAY)}
    assert "never fires" in found["never"].remark
    assert found["hourly"].due == 24


def test_several_processes_find_what_one_finds(monkeypatch):
    monkeypatch.setattr(playing, "WORTH", 50)
    jobs = [job(f"j{n}", HOURLY if n % 3 else "0 15 2 * * ?", queue_enabled=n % 2 == 0) for n in range(7)]
    alone, shared = scene(*jobs), scene(*jobs)
    for set_up in (alone, shared):
        set_up.script.duration("t", 70 * MINUTE)
        set_up.script.fail("j4/t", day=date(2026, 3, 5))
    until = START + 3 * DAY
    assert play(alone, until) == play(shared, until, processes=3)


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(playing, "WORTH", 50)
    play(scene(*(job(f"j{n}", HOURLY) for n in range(6))), START + DAY, processes=2)
    assert list(tmp_path.iterdir()) == []
