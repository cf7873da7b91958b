"""Health: facts gathered from a home, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from ticking import HOUR, MINUTE, SECOND, START, SetClock, World, job

from wfengine import control, health, pulse
from wfengine.health import Facts, assess
from wfengine.pulse import Beat, Lag, Pulse
from wfengine.states import LifeCycle, Trigger
from wfengine.store import Backlog, Failure, Line

DAY = 24 * HOUR
GIB = 1024**3


def beat(**more: Any) -> Beat:
    return Beat(pid=7, started_at=START, time=START, steady=10.0, **more)


def facts(**more: Any) -> Facts:
    return Facts(**{"home": "/home", "daemon": 7, "beat": beat(), "beat_age": 1.0, "free_bytes": GIB, **more})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "home")
    yield world
    world.close()


# -- what facts mean --------------------------------------------------------------------------------------------------


def test_a_home_with_a_daemon_that_turns_is_healthy() -> None:
    found = assess(facts(runs={"RUNNING": 3}, results={"FAILED": 5}, late_p99=200), START)
    assert (found.ok, found.alive, found.findings) == (True, True, ())


@pytest.mark.parametrize(
    ("changes", "subject", "said"),
    [
        ({"daemon": None, "beat": None, "beat_age": None}, "daemon", "no daemon serves /home: start one with"),
        ({"beat_age": 200.0}, "daemon", "has not been heard for 3 min: see its log, then end it with kill -9 7"),
        ({"beat": beat(lag_p99=6.0, lag_max=9.0)}, "loop", "late by 6.0 s, once by 9.0 s: give the machine less"),
        (
            {"beat": beat(alarm="the clock leapt")},
            "clock",
            "the clock leapt: set it right, or confirm it with wfengine",
        ),
        ({"beat": beat(trouble="no space in /home")}, "state", "no space in /home: it goes on by itself"),
        (
            {"beat": beat(broken=3, errors={"/conf/a.yml": "/conf/a.yml:3:1: name: missing\nmore"})},
            "job file",
            "/conf/a.yml:3:1: name: missing; 2 more are broken: mend it; wfengine validate",
        ),
        (
            {"beat": beat(disabled={"mail": "3 timeouts"})},
            "plugin",
            "plugin mail gets no more events: 3 timeouts: mend",
        ),
        ({"state_error": "/home/state.db is damaged"}, "state", "/home/state.db is damaged: nothing can be said"),
        ({"free_bytes": 10 * 1024**2}, "disk", "the disk of /home has 10 MiB left: free some space"),
        ({"job_errors": {"a": "no such folder"}}, "job", "job 'a': no such folder: wfengine ticks JOB shows"),
        ({"late_p99": 90_000}, "ticks", "ticks of the last hour started 90 s late: allow more tasks"),
        (
            {"queues": (Line(job_id=1, job_name="a", count=4, since=START - 30 * HOUR),)},
            "queue",
            "4 runs of job 'a' wait for a place, one for 30 h: raise max_concurrent_runs",
        ),
        (
            {
                "backlogs": (
                    Backlog(subscriber="m", waiting=9, dead=0, dead_since=None, failing_since=START - 3 * HOUR),
                )
            },
            "plugin",
            "plugin m has taken no event for 3 h, 9 wait: mend it",
        ),
        (
            {
                "backlogs": (
                    Backlog(subscriber="m", waiting=0, dead=2, dead_since=START - 25 * HOUR, failing_since=None),
                )
            },
            "plugin",
            "2 events were given up, plugin m never took them: mend it",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_mend(changes: dict[str, Any], subject: str, said: str) -> None:
    found = assess(facts(**changes), START)
    (finding,) = found.findings
    assert finding.subject == subject
    assert said in str(finding)
    assert not found.ok


@pytest.mark.parametrize(
    "changes",
    [
        {"beat": None, "beat_age": None},
        {"beat_age": 80.0},
        {"queues": (Line(job_id=1, job_name="a", count=4, since=START - HOUR),)},
        {"backlogs": (Backlog(subscriber="m", waiting=9, dead=0, dead_since=None, failing_since=START - MINUTE),)},
        {"backlogs": (Backlog(subscriber="m", waiting=0, dead=2, dead_since=START - 3 * DAY, failing_since=None),)},
        {"caught_up": 50, "ticks": {"MISSED": 700}},
    ],
    ids=["just started", "a long turn", "a short queue", "a short failure", "old dead letters", "after a downtime"],
)
def test_what_mends_itself_or_is_over_is_no_finding(changes: dict[str, Any]) -> None:
    assert assess(facts(**changes), START).findings == ()


def test_only_a_daemon_that_is_gone_or_hangs_is_not_alive() -> None:
    """Whoever restarts what is not alive must not restart for a broken file."""
    assert assess(facts(beat=beat(broken=1), late_p99=HOUR), START).alive
    assert not assess(facts(beat_age=1000.0), START).alive
    assert not assess(facts(daemon=None), START).alive


def test_a_daemon_that_cannot_tell_on_a_full_disk_is_not_taken_for_hanging() -> None:
    """docs/reliability.md, D3."""
    found = assess(facts(beat_age=1000.0, free_bytes=0), START)
    assert [finding.subject for finding in found.findings] == ["disk"]
    assert found.alive


def test_many_jobs_with_errors_are_not_all_listed() -> None:
    found = assess(facts(job_errors={f"j{n}": "bad" for n in range(50)}), START)
    assert [str(finding) for finding in found.findings][3].startswith(
        "47 more jobs have errors (j3, j4, j5 and 44 more)"
    )


# -- gathering --------------------------------------------------------------------------------------------------------


def test_a_folder_that_nothing_has_used_yet_says_so_and_stays_untouched(tmp_path: Path) -> None:
    seen, found = health.look(tmp_path / "none" / "home", SetClock())
    assert [finding.subject for finding in found.findings] == ["daemon"]
    assert seen.free_bytes > 0
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_is_a_finding(tmp_path: Path) -> None:
    """docs/reliability.md, D6."""
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    _, found = health.look(tmp_path, SetClock())
    assert [finding.subject for finding in found.findings] == ["daemon", "state"]
    assert "damaged" in str(found.findings[1])


def test_runs_ticks_and_delays_are_counted_from_the_store(world: World) -> None:
    world.load(job("a"), job("b"))
    for _ in range(3):
        world.tick(MINUTE)
        world.clock.advance(2 * SECOND)
        world.end_all() if world.clock.wall < START + 3 * MINUTE else None
    seen = health.gather(world.store.home, world.store, now=world.clock.wall, steady=0.0)
    assert seen.results == {"SUCCESS": 4}
    assert seen.ticks == {"RUN": 6}
    assert seen.runs == {"PENDING": 2}
    assert (seen.late_p50, seen.late_p99, seen.caught_up) == (4 * SECOND, 4 * SECOND, 0)
    assert seen.store_bytes > 10_000
    assert seen.queues == ()


def test_what_a_downtime_left_counts_as_caught_up_and_not_as_late(world: World) -> None:
    world.load(job("a", catch_up="all", max_concurrent_runs=99))
    world.restart(after=10 * MINUTE)
    world.tick()
    world.end_all()
    seen = health.gather(world.store.home, world.store, now=world.clock.wall, steady=0.0)
    assert seen.caught_up == 8
    assert seen.late_p99 is not None
    assert seen.late_p99 <= MINUTE


def test_a_queue_is_named_by_its_job(world: World) -> None:
    world.load(job("slow", queue_enabled=True))
    world.tick(MINUTE)
    world.tick(MINUTE)
    world.tick(MINUTE)
    seen = health.gather(world.store.home, world.store, now=world.clock.wall, steady=0.0)
    assert [(line.job_name, line.count, line.since) for line in seen.queues] == [("slow", 2, START + 2 * MINUTE)]
    assert seen.runs == {"PENDING": 1, "QUEUED": 2}


def test_events_that_nobody_took_are_counted_by_subscriber(world: World) -> None:
    world.store.create_run(
        job(),
        parameters=lambda job_id, run_id: {},
        trigger=Trigger.ONE_TIME,
        trigger_time=START,
        by="daemon",
        subscribers=("mail",),
    )
    (pending,) = world.store.outbox.pending("mail", world.store.outbox.ready_runs("mail", START)[0], 10)
    world.store.outbox.settle([], [Failure(pending=pending, error="down", now=START, next_at=None)])
    found = {one.subscriber: (one.waiting, one.dead, one.dead_since) for one in world.store.figures.backlogs()}
    assert found == {"mail": (0, 1, START), "run.jsonl": (1, 0, None)}


def test_looking_at_a_home_writes_nothing_and_ends_no_run(world: World) -> None:
    """A health check every few seconds must not recover what another process is about to."""
    world.load(job())
    (run_id,) = world.tick(MINUTE).created
    before = (world.store.home / "state.db").read_bytes()
    health.look(world.store.home, world.clock)
    assert (world.store.home / "state.db").read_bytes() == before
    assert world.store.run(run_id).state == LifeCycle.PENDING


# -- what a daemon tells of itself ------------------------------------------------------------------------------------


@pytest.fixture
def teller(tmp_path: Path) -> tuple[Pulse, SetClock]:
    clock = SetClock()
    return Pulse(tmp_path, clock, clock.monotonic), clock


def told(teller: Pulse, **more: Any) -> None:
    teller.beat(**{"jobs": 1, "runs": 0, "errors": {}, "disabled": {}, **more})


def test_a_beat_is_one_private_file_that_is_replaced_whole(teller: tuple[Pulse, SetClock], tmp_path: Path) -> None:
    """docs/reliability.md, W13."""
    told(teller[0], jobs=5, errors={Path("/conf/a.yml"): "x" * 9000})
    assert [path.name for path in tmp_path.iterdir()] == [pulse.FILE]
    assert (tmp_path / pulse.FILE).stat().st_mode & 0o777 == 0o600
    read = pulse.read(tmp_path)
    assert read == teller[0].latest
    assert read is not None
    assert (read.pid, read.jobs, read.broken) == (os.getpid(), 5, 1)
    assert len(read.errors["/conf/a.yml"]) == pulse.MOST_TEXT


def test_a_beat_is_written_every_five_seconds_or_when_something_changes(
    teller: tuple[Pulse, SetClock], tmp_path: Path
) -> None:
    teller_, clock = teller
    written: list[int] = []
    for step in range(12):
        clock.advance(SECOND)
        told(teller_, runs=step, alarm="leapt" if step >= 7 else "")
        read = pulse.read(tmp_path)
        assert read is not None
        if not written or read.runs != written[-1]:
            written.append(read.runs)
    assert written == [0, 5, 7]


def test_a_beat_that_cannot_be_written_is_said_once_and_ends_nothing(
    teller: tuple[Pulse, SetClock], tmp_path: Path
) -> None:
    """docs/reliability.md, D3."""
    (tmp_path / "daemon.new").mkdir()
    with capture_logs() as logs:
        for _ in range(3):
            teller[1].advance(10 * SECOND)
            told(teller[0], jobs=3)
    assert [line["event"] for line in logs] == ["cannot tell how the daemon is"]
    assert teller[0].latest.jobs == 3
    assert pulse.read(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_beat_that_makes_no_sense_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / pulse.FILE).write_bytes(content)
    assert pulse.read(tmp_path) is None


def test_what_a_killed_daemon_told_is_not_taken_for_the_word_of_the_next(tmp_path: Path) -> None:
    door = control.Door(tmp_path, lambda: None)
    (tmp_path / control.PID).write_text("999999")
    (tmp_path / pulse.FILE).write_bytes(msgspec.json.encode(beat()))
    try:
        seen = health.gather(tmp_path, None, now=START, steady=50.0)
        assert (seen.daemon, seen.beat, seen.beat_age) == (999999, None, None)
        (tmp_path / control.PID).write_text("7")
        assert health.gather(tmp_path, None, now=START, steady=50.0).beat_age == 40.0
    finally:
        door.close()


# -- lag --------------------------------------------------------------------------------------------------------------


def test_the_lag_is_the_work_of_a_turn_and_what_a_wait_overslept(teller: tuple[Pulse, SetClock]) -> None:
    pulse_, clock = teller
    pulse_.sleeps(10.0)
    clock.advance(4_000)  # woken early by a report
    pulse_.wakes()
    clock.advance(20)
    pulse_.sleeps(10.0)
    clock.advance(10_300)  # overslept
    pulse_.wakes()
    clock.advance(200)
    pulse_.sleeps(1.0)
    told(pulse_)
    assert (pulse_.latest.lag_p99, pulse_.latest.lag_max) == (0.5, 0.5)


def test_the_lag_forgets_what_is_older_than_five_minutes() -> None:
    lag = Lag()
    lag.add(3.0, 0.0)
    seen = []
    for second in range(0, 400, 10):
        lag.add(0.01, float(second))
        seen.append(lag.figures(float(second))[1])
    assert seen[:30] == [3.0] * 30
    assert seen[-4:] == [0.01] * 4


def test_one_turn_in_two_hundred_does_not_raise_the_percentile() -> None:
    lag = Lag()
    for turn in range(200):
        lag.add(2.0 if turn == 100 else 0.001, 0.0)
    p99, most = lag.figures(1.0)
    assert 0.001 <= p99 <= 0.00125
    assert most == 2.0


def test_no_turn_is_no_lag() -> None:
    assert Lag().figures(0.0) == (0.0, 0.0)
