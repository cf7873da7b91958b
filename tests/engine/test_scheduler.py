"""The scheduler: every due instant becomes one row of the ledger, in time or explained (docs/semantics.md, section 7)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from ticking import DAILY, DAY, HOUR, HOURLY, MINUTE, MINUTELY, SECOND, START, World, at, job

from wfengine import arrivals
from wfengine.errors import FencedError, StateError
from wfengine.jobs import Job, Parameter, Schedule
from wfengine.scheduler import Scheduler, trigger
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store import Store


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "home")
    yield world
    world.close()


def replace(job: Job, **changes: object) -> Job:
    return msgspec.structs.replace(job, **changes)


# -- a tick -----------------------------------------------------------------------------------------------------------


def test_a_due_tick_makes_a_run_for_the_daemon_that_knows_its_instant(world: World) -> None:
    """docs/semantics.md, section 5: the trigger's time is the due tick, however late it is noticed."""
    parameters = (Parameter("day", "{{job.trigger.time.iso_datetime}}"), Parameter("why", "{{job.trigger.type}}"))
    world.load(job(parameters=parameters))
    turn = world.tick(MINUTE + 7 * SECOND)
    (run_id,) = turn.created
    run = world.store.run(run_id)
    assert (run.state, run.trigger, run.trigger_time) == (LifeCycle.PENDING, Trigger.PERIODIC, START + MINUTE)
    assert run.parameters == {"day": "2026-01-01T00:01:00.000Z", "why": "periodic"}
    (tick,) = world.ticks()
    assert (tick.due, tick.outcome, tick.run_id, tick.recorded_at) == (START + MINUTE, "RUN", run_id, world.clock.wall)
    assert world.store.waiting(10) == [run_id]
    assert turn.next_due == START + 2 * MINUTE


def test_nothing_is_due_a_millisecond_early(world: World) -> None:
    world.load(job())
    assert world.tick(MINUTE - 1) == (START + MINUTE, (), ())
    assert len(world.tick(1).created) == 1
    assert world.tick().created == ()


def test_a_job_without_a_schedule_is_loaded_and_never_due(world: World) -> None:
    world.load(job(schedule=None))
    assert world.tick(DAY).next_due is None
    assert [row.name for row in world.store.jobs()] == ["daily"]


def test_everything_that_is_due_at_once_is_stored_in_batches(world: World) -> None:
    world.load(*(job(f"j{n:03}") for n in range(450)))
    turn = world.tick(MINUTE)
    assert len(turn.created) == len(set(turn.created)) == 450
    assert {tick.job_name for tick in world.ticks()} == {f"j{n:03}" for n in range(450)}
    assert world.tick().created == ()


def test_a_turn_that_cannot_be_stored_is_done_by_the_next(tmp_path: Path) -> None:
    """docs/reliability.md, D5."""
    world = World(tmp_path / "home")
    world.load(job("a"), job("b"))
    world.store = impatient = Store.open(tmp_path / "home", world.clock, wait=0.0)
    world.scheduler = Scheduler(impatient, world.clock, (), impatient.lead("daemon"))
    world.load(*world.jobs)
    world.clock.advance(MINUTE)
    other = sqlite3.connect(tmp_path / "home" / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="another process has been writing"):
        world.tick()
    other.execute("ROLLBACK")
    other.close()
    assert len(world.tick().created) == 2
    assert world.told() == [("RUN", START + MINUTE, 1)] * 2


# -- catching up ------------------------------------------------------------------------------------------------------

T0 = START + MINUTE


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("latest", [("MISSED", T0, 9), ("RUN", T0 + 9 * MINUTE, 1)]),
        ("all", [("RUN", T0 + n * MINUTE, 1) for n in range(10)]),
        ("none", [("MISSED", T0, 10)]),
    ],
)
def test_what_was_missed_in_a_downtime_is_treated_as_the_job_says(world: World, policy: str, expected: object) -> None:
    """docs/reliability.md, D11."""
    world.load(job(catch_up=policy, max_concurrent_runs=50))
    world.restart(after=10 * MINUTE + 40 * SECOND)
    world.tick()
    assert world.told() == expected
    world.restart()
    world.tick()
    assert world.told() == expected


def test_a_tick_noticed_a_little_late_is_not_missed(world: World) -> None:
    world.load(job(catch_up="none"))
    world.tick(MINUTE + 20 * SECOND)
    assert world.told() == [("RUN", T0, 1)]


def test_catching_up_with_all_makes_at_most_a_hundred_runs(world: World) -> None:
    world.load(job(catch_up="all", max_concurrent_runs=1000))
    world.restart(after=250 * MINUTE)
    assert len(world.tick().created) == 100
    assert world.told()[0] == ("MISSED", T0, 150)
    assert [count for _, _, count in world.told()[1:]] == [1] * 100


def test_thirty_days_of_a_minutely_job_are_one_run_and_one_row(world: World) -> None:
    """docs/reliability.md, D18."""
    world.load(job())
    world.restart(after=30 * DAY)
    assert len(world.tick().created) == 1
    (missed, run) = world.ticks()
    assert (missed.due, missed.through, missed.count) == (T0, START + 30 * DAY - MINUTE, 30 * 24 * 60 - 1)
    assert (run.due, run.reason) == (START + 30 * DAY, "")
    assert missed.reason == "nobody looked in time; catch_up is latest"
    (told,) = world.store.events(-missed.job_id)
    assert (told.due, told.through, told.count) == (missed.due, missed.through, missed.count)  # type: ignore[union-attr]


# -- jobs that come, change and go ------------------------------------------------------------------------------------


def test_a_restart_repeats_nothing(world: World) -> None:
    world.load(job(max_concurrent_runs=9))
    world.tick(MINUTE)
    world.restart()
    world.tick(10)
    assert world.told() == [("RUN", T0, 1)]


def test_an_edited_schedule_counts_from_the_edit_on(world: World) -> None:
    """docs/reliability.md, D17."""
    world.load(job(expression=HOURLY))
    world.clock.advance(3 * HOUR + 90 * SECOND)
    world.load(job(expression=MINUTELY))
    assert world.tick() == (START + 3 * HOUR + 2 * MINUTE, (), ())
    assert world.ticks() == []


def test_other_edits_leave_the_cursor_where_it_was(world: World) -> None:
    world.load(job(expression=HOURLY))
    world.clock.advance(3 * HOUR)
    world.load(job(expression=HOURLY, catch_up="all", max_concurrent_runs=5, description="edited"))
    assert len(world.tick().created) == 3


def test_a_job_that_is_gone_is_forgotten_but_its_ticks_stay(world: World) -> None:
    world.load(job("a"), job("b"))
    world.tick(MINUTE)
    world.load(job("b"))
    assert world.tick(HOUR).created
    assert [row.name for row in world.store.jobs()] == ["b"]
    assert [tick.due for tick in world.ticks("a")] == [T0]
    world.load(job("a", max_concurrent_runs=5), job("b"))
    world.tick(MINUTE)
    assert [tick.due for tick in world.ticks("a")] == [T0, START + HOUR + 2 * MINUTE]


def test_a_schedule_that_cannot_be_read_is_shown_and_harms_no_other(world: World) -> None:
    """docs/reliability.md, D16."""
    world.load(job("bad", "0 0 0 30 2 ?"), job("good"), job("worse", catch_up="sometimes"))
    assert len(world.tick(MINUTE).created) == 1
    errors = {row.name: row.error for row in world.store.jobs()}
    assert "never fires" in errors["bad"]
    assert "catch_up" in errors["worse"]
    assert errors["good"] == ""
    world.load(job("bad", "0 0 0 28 2 ?"), job("good"))
    assert [row.error for row in world.store.jobs()] == ["", ""]


def test_parameters_that_cannot_be_filled_miss_the_tick_and_harm_no_other(world: World) -> None:
    bad = job("bad", parameters=(Parameter("x", "{{job.nmae}}"),))
    world.load(bad, job("good"))
    assert len(world.tick(MINUTE).created) == 1
    (missed,) = world.ticks("bad")
    assert (missed.outcome, missed.run_id, missed.due) == ("MISSED", None, T0)
    assert "job.nmae" in missed.reason
    assert {row.name: "job.nmae" in row.error for row in world.store.jobs()} == {"bad": True, "good": False}
    assert world.scheduler.next_due("bad") == T0 + MINUTE
    world.load(replace(bad, parameters=()), job("good"))
    assert world.tick(MINUTE).created
    assert [row.error for row in world.store.jobs()] == ["", ""]


# -- pauses -----------------------------------------------------------------------------------------------------------


def test_a_persons_pause_records_nothing_and_resuming_counts_from_then_on(world: World) -> None:
    world.load(job(catch_up="all", max_concurrent_runs=50))
    world.tick(MINUTE)
    other = world.store.another()
    other.pause("daily")
    assert world.tick(5 * MINUTE).created == ()
    world.restart(after=5 * MINUTE)
    assert world.tick().created == ()
    world.clock.advance(30 * SECOND)
    other.resume("daily")
    other.close()
    assert world.tick(29 * SECOND).created == ()
    assert len(world.tick(SECOND).created) == 1
    assert world.told() == [("RUN", T0, 1), ("RUN", START + 12 * MINUTE, 1)]


def test_a_pause_that_nobody_saw_is_kept_to(world: World) -> None:
    world.load(job(catch_up="all", max_concurrent_runs=50))
    world.store.pause("daily")
    world.clock.advance(10 * MINUTE + SECOND)
    world.store.resume("daily")
    world.tick(MINUTE)
    assert world.told() == [("RUN", START + 11 * MINUTE, 1)]


def test_resuming_what_is_not_paused_forgets_nothing(world: World) -> None:
    world.load(job(catch_up="all", max_concurrent_runs=50))
    world.clock.advance(3 * MINUTE)
    world.store.resume("daily")
    assert len(world.tick().created) == 3


@pytest.mark.parametrize("restart", [False, True])
def test_a_pause_in_the_file_records_nothing_and_its_end_counts_from_then_on(world: World, restart: bool) -> None:
    running = job(catch_up="all", max_concurrent_runs=50)
    paused = replace(running, schedule=msgspec.structs.replace(running.schedule, pause_status="PAUSED"))
    world.load(running)
    world.tick(MINUTE)
    world.load(paused)
    assert world.tick(10 * MINUTE) == (None, (), ())
    if restart:
        world.jobs = (running,)
        world.restart(after=30 * SECOND)
    else:
        world.clock.advance(30 * SECOND)
        world.load(running)
    world.tick(MINUTE)
    assert world.told() == [("RUN", T0, 1), ("RUN", START + 12 * MINUTE, 1)]


# -- the clock --------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_repeats_nothing_and_starts_nothing_early(world: World) -> None:
    """docs/reliability.md, D13."""
    world.load(job(max_concurrent_runs=50))
    for _ in range(3):
        world.tick(MINUTE)
    world.clock.leap(-2 * HOUR)
    for _ in range(119):
        assert world.tick(MINUTE).created == ()
    world.tick(2 * MINUTE)
    assert world.told() == [("RUN", T0 + n * MINUTE, 1) for n in range(4)]


def test_a_clock_set_two_hours_forward_is_caught_up_with_once(world: World) -> None:
    """docs/reliability.md, D12."""
    world.load(job())
    world.tick(30 * SECOND)
    world.clock.leap(2 * HOUR)
    assert len(world.tick().created) == 1
    assert world.told() == [("MISSED", T0, 119), ("RUN", START + 2 * HOUR, 1)]


def test_a_leap_of_ten_years_stops_scheduling_until_the_clock_is_set_right(world: World) -> None:
    """docs/reliability.md, D12."""
    world.load(job(max_concurrent_runs=50))
    world.tick(MINUTE)
    world.clock.leap(3650 * DAY)
    assert world.tick(MINUTE) == (None, (), ())
    assert "leapt 3650.0 days forward: nothing is started by schedule" in world.scheduler.alarm
    world.clock.leap(-3650 * DAY)
    assert len(world.tick().created) == 1
    assert world.scheduler.alarm == ""
    assert world.told() == [("RUN", T0, 1), ("RUN", T0 + MINUTE, 1)]


def test_a_leap_forward_that_a_person_confirms_is_caught_up_with_once(world: World) -> None:
    world.load(job())
    world.tick(SECOND)
    world.clock.leap(3 * DAY)
    world.tick()
    assert world.scheduler.alarm
    world.scheduler.resume_after_jump()
    assert world.scheduler.alarm == ""
    assert len(world.tick().created) == 1
    assert world.told() == [("MISSED", T0, 3 * 24 * 60 - 1), ("RUN", START + 3 * DAY, 1)]


@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_years_behind_the_record_stops_scheduling_until_it_is_confirmed(world: World, restart: bool) -> None:
    """docs/reliability.md, D13: an instant that has a row of its own does not run again."""
    world.load(job(max_concurrent_runs=50))
    for _ in range(3):
        world.tick(MINUTE)
    world.clock.leap(3650 * DAY)
    world.tick()
    world.scheduler.resume_after_jump()
    world.tick(MINUTE)
    world.clock.leap(-3650 * DAY - 2 * MINUTE)
    if restart:
        world.restart()
    assert world.tick() == (None, (), ())
    assert "back" in world.scheduler.alarm or "behind the newest instant" in world.scheduler.alarm
    before = world.told()
    world.scheduler.resume_after_jump()
    for _ in range(3):
        world.tick(MINUTE)
    added = [row for row in world.told() if row not in before]
    assert added == [("RUN", START + 5 * MINUTE, 1)]


def test_missed_instants_that_have_rows_of_their_own_are_not_recorded_again(world: World) -> None:
    """docs/reliability.md, D13."""
    world.load(job(max_concurrent_runs=50))
    for _ in range(3):
        world.tick(MINUTE)
    world.clock.leap(-2 * MINUTE - 30 * SECOND)
    world.scheduler.resume_after_jump()
    world.restart(after=5 * MINUTE)
    world.tick()
    assert world.told()[3:] == [("MISSED", START + 4 * MINUTE, 1), ("RUN", START + 5 * MINUTE, 1)]


def test_a_leap_of_the_clock_ends_no_run_that_waits(world: World) -> None:
    world.load(job(queue_enabled=True))
    going, waiting = (world.tick(MINUTE).created[0] for _ in range(2))
    world.clock.leap(365 * DAY)
    assert world.tick() == (None, (), ())
    assert world.state(waiting) == "QUEUED"
    world.end(going)
    assert world.tick().promoted == (waiting,)


def test_a_downtime_of_weeks_is_no_leap(world: World) -> None:
    world.load(job())
    world.tick(MINUTE)
    world.restart(after=40 * DAY)
    assert world.tick().created
    assert world.scheduler.alarm == ""


@pytest.mark.parametrize(("day", "instant"), [("2026-03-29", "2026-03-29 01:00"), ("2026-10-25", "2026-10-25 00:30")])
def test_a_fixed_time_that_the_clocks_skip_or_repeat_is_due_once(world: World, day: str, instant: str) -> None:
    """docs/reliability.md, D14 and D15: 02:30 in Berlin on the days of the change."""
    world.clock.wall = at(f"{day} 00:00")
    world.load(job(expression=DAILY, zone="Europe/Berlin", max_concurrent_runs=9))
    for _ in range(20 * 12):
        world.tick(5 * MINUTE)
    assert world.told() == [("RUN", at(instant), 1)]


# -- limits -----------------------------------------------------------------------------------------------------------


def test_a_tick_over_the_limit_is_a_skipped_run_that_people_see(world: World) -> None:
    world.load(job())
    world.tick(MINUTE)
    (skipped,) = world.tick(MINUTE).created
    run = world.store.run(skipped)
    assert (run.state, run.result) == (LifeCycle.SKIPPED, Result.MAXIMUM_CONCURRENT_RUNS_REACHED)
    assert run.message == "1 of at most 1 runs of this job were active"
    assert run.attempts == ()
    assert [type(event).__name__ for event in world.store.events(skipped)] == ["RunEnded"]
    assert [(tick.outcome, tick.run_id, tick.reason) for tick in world.ticks()[1:]] == [
        ("SKIPPED", skipped, run.message)
    ]
    world.end_all()
    assert world.state(world.tick(MINUTE).created[0]) == "PENDING"


def test_a_limit_of_none_skips_every_run(world: World) -> None:
    world.load(job(max_concurrent_runs=0, queue_enabled=True))
    world.tick(MINUTE)
    assert world.told() == [("SKIPPED", T0, 1)]


def test_queued_runs_get_their_places_in_order(world: World) -> None:
    world.load(job(queue_enabled=True, max_concurrent_runs=2))
    runs = [world.tick(MINUTE).created[0] for _ in range(5)]
    assert [world.state(run) for run in runs] == ["PENDING"] * 2 + ["QUEUED"] * 3
    assert world.store.run(runs[2]).message == "2 of at most 2 runs of this job were active"
    world.end(runs[1])
    assert world.tick().promoted == (runs[2],)
    assert [world.state(run) for run in runs[2:]] == ["PENDING", "QUEUED", "QUEUED"]
    assert world.store.run(runs[2]).message == ""
    world.end_all()
    turn = world.tick(MINUTE)
    assert (turn.promoted, world.state(turn.created[0])) == ((runs[3], runs[4]), "QUEUED")
    assert [str(tick.outcome) for tick in world.ticks()] == ["RUN", "RUN", "QUEUED", "QUEUED", "QUEUED", "QUEUED"]


def test_a_run_that_waited_48_hours_is_skipped(world: World) -> None:
    world.load(job(expression="0 0 0 * * ?", queue_enabled=True))
    first, second = (world.tick(DAY).created[0] for _ in range(2))
    world.restart(after=2 * DAY)
    assert world.store.run(second).state is LifeCycle.QUEUED
    world.clock.advance(1)
    world.end(first)
    turn = world.tick()
    run = world.store.run(second)
    assert turn.promoted == ()
    assert (run.state, run.result) == (LifeCycle.SKIPPED, Result.MAXIMUM_CONCURRENT_RUNS_REACHED)
    assert (run.attempts, run.message) == ((), "waited 48 hours for a place among the runs of its job")
    assert [type(event).__name__ for event in world.store.events(second)] == ["RunQueued", "RunEnded"]


def test_a_run_asked_for_by_hand_obeys_the_same_limits(world: World) -> None:
    limited = job(parameters=(Parameter("day", "x"),))
    ask = partial(trigger, world.store, now=world.clock.wall)
    runs = [ask(limited, {"day": "y"})[0], ask(limited, {})[0], ask(replace(limited, queue_enabled=True), {})[0]]
    assert [str(run.state) for run in runs] == ["PENDING", "SKIPPED", "QUEUED"]
    assert (runs[0].parameters, runs[0].trigger, runs[0].trigger_time) == ({"day": "y"}, Trigger.ONE_TIME, START)
    assert world.store.waiting(9) == [runs[0].run_id]
    again, created = ask(job("other"), {}, idempotency_token="t")
    assert created
    assert ask(job("other"), {}, idempotency_token="t") == (again, False)
    world.end(runs[0].run_id)
    assert world.tick().promoted == (runs[2].run_id,)


def test_nobody_overtakes_a_run_that_waits(world: World) -> None:
    queueing = job(queue_enabled=True)
    world.load(queueing)
    going, waiting = (world.tick(MINUTE).created[0] for _ in range(2))
    world.end(going)
    by_hand, _ = trigger(world.store, queueing, {}, now=world.clock.wall)
    assert by_hand.state is LifeCycle.QUEUED
    assert world.tick().promoted == (waiting,)


# -- triggers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[World]:
    """A world whose jobs may have triggers."""
    parse = partial(arrivals.parse, root=tmp_path, warehouse=tmp_path / "warehouse")
    world = World(tmp_path / "home", triggers=parse)
    yield world
    world.close()


def test_an_interval_counts_from_when_it_was_first_seen(watching: World) -> None:
    every = job(schedule=None, trigger={"periodic": {"interval": 2, "unit": "HOURS"}}, max_concurrent_runs=9)
    watching.clock.advance(7 * MINUTE)
    watching.load(every)
    watching.tick(2 * HOUR)
    watching.restart(after=30 * MINUTE)
    watching.tick(2 * HOUR)
    anchor = START + 7 * MINUTE
    assert watching.told() == [("RUN", anchor + 2 * HOUR, 1), ("RUN", anchor + 4 * HOUR, 1)]


def arriving(tmp_path: Path, **more: object) -> Job:
    (tmp_path / "in").mkdir(exist_ok=True)
    trigger = {"file_arrival": {"url": str(tmp_path / "in")}}
    return replace(job(schedule=None, trigger=trigger), path=str(tmp_path / "j.yml"), **more)


def test_new_files_make_one_run_also_after_a_downtime(watching: World, tmp_path: Path) -> None:
    watching.load(arriving(tmp_path))
    (tmp_path / "in" / "old.csv").touch()
    assert watching.tick().created == ()
    assert watching.tick(MINUTE).created == ()
    (tmp_path / "in" / "a.csv").touch()
    (run,) = watching.tick(MINUTE).created
    assert watching.store.run(run).trigger is Trigger.FILE_ARRIVAL
    assert watching.ticks()[0].reason == "new file a.csv"
    assert [timing.cursor for timing in watching.store.timings()] == [watching.clock.wall]
    watching.end(run)
    (tmp_path / "in" / "b.csv").touch()
    watching.restart(after=HOUR)
    watching.end(*watching.tick().created)
    fired = watching.clock.wall
    (tmp_path / "in" / "a.csv").unlink()
    assert watching.tick(MINUTE).created == ()
    assert [timing.cursor for timing in watching.store.timings()] == [fired]


def test_files_that_arrive_while_the_job_is_busy_or_paused_are_found_afterwards(
    watching: World, tmp_path: Path
) -> None:
    watching.load(arriving(tmp_path))
    watching.tick()
    (tmp_path / "in" / "a.csv").touch()
    (first,) = watching.tick(MINUTE).created
    (tmp_path / "in" / "b.csv").touch()
    assert watching.tick(MINUTE).created == ()
    watching.end(first)
    watching.scheduler.ended("daily")
    (second,) = watching.tick().created
    watching.end(second)
    watching.store.pause("daily")
    (tmp_path / "in" / "c.csv").touch()
    assert watching.tick(HOUR).created == ()
    watching.store.resume("daily")
    assert len(watching.tick(MINUTE).created) == 1
    assert [str(tick.outcome) for tick in watching.ticks()] == ["RUN"] * 3


def test_a_folder_that_is_not_there_is_the_jobs_error_until_it_is(watching: World, tmp_path: Path) -> None:
    watching.load(arriving(tmp_path))
    (tmp_path / "in").rmdir()
    watching.tick()
    assert "is not there" in watching.store.jobs()[0].error
    (tmp_path / "in").mkdir()
    watching.tick(MINUTE)
    assert watching.store.jobs()[0].error == ""


def test_a_continuous_job_follows_its_own_runs(watching: World) -> None:
    watching.load(job(schedule=None, continuous={"pause_status": "UNPAUSED"}))
    (first,) = watching.tick().created
    assert watching.tick(HOUR).created == ()
    watching.end(first)
    watching.scheduler.ended("daily")
    assert watching.tick().created == ()
    assert len(watching.tick(SECOND).created) == 1


def test_two_looks_at_the_same_instant_make_one_run(watching: World) -> None:
    watching.load(job(schedule=None, continuous={"pause_status": "UNPAUSED"}))
    for _ in range(3):
        watching.scheduler.ended("daily")
    assert len(watching.tick().created) == 1
    assert len(watching.ticks()) == 1


def test_a_continuous_job_whose_run_cannot_be_made_is_not_tried_all_the_time(watching: World) -> None:
    bad = (Parameter("x", "{{nothing}}"),)
    watching.load(job(schedule=None, continuous={"pause_status": "UNPAUSED"}, parameters=bad))
    watching.tick()
    for _ in range(59):
        watching.tick(SECOND)
    assert [str(tick.outcome) for tick in watching.ticks()] == ["MISSED"]
    watching.tick(SECOND)
    assert len(watching.ticks()) == 2


# -- leaders ----------------------------------------------------------------------------------------------------------


def test_a_former_leader_that_wakes_up_can_write_nothing(world: World, tmp_path: Path) -> None:
    """docs/reliability.md, D10."""
    world.load(job(queue_enabled=True))
    stalled = world.scheduler
    world.restart()
    world.tick(MINUTE)
    before = world.told()
    world.clock.advance(MINUTE)
    for act in (stalled.tick, stalled.resume_after_jump, partial(stalled.load, {})):
        with pytest.raises(FencedError, match="another daemon has taken over"):
            act()
    assert world.told() == before
    assert [row.name for row in world.store.jobs()] == ["daily"]
    assert world.tick().created


def test_unix_cron_is_scheduled_as_well(world: World) -> None:
    world.load(job(schedule=Schedule(cron="*/5 * * * *")))
    world.tick(5 * MINUTE)
    assert world.told() == [("RUN", START + 5 * MINUTE, 1)]
