"""The ledger of ticks, and what other processes ask of the daemon (docs/semantics.md, section 7)."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from ticking import HOUR, MINUTE, START, SetClock, World, at, job

from wfengine import cli, recovery, registry
from wfengine.bus import Bus
from wfengine.errors import FencedError, UsageError
from wfengine.events import AnyEvent, RunEnded, RunQueued, TickMissed
from wfengine.hooks import hookimpl
from wfengine.jobs import Job
from wfengine.runs import JobRun
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store import Executor, Store
from wfengine.store.database import APPLICATION_ID, migrations


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "home")
    yield world
    world.close()


def create(store: Store, job: Job, by: Executor = "daemon") -> JobRun:
    return store.create_run(job, parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=START, by=by)[0]


# -- runs of the daemon -----------------------------------------------------------------------------------------------


def test_only_runs_for_the_daemon_wait_for_it_in_turns_between_jobs(world: World) -> None:
    create(world.store, job("a"), "here")
    busy, idle = job("a", max_concurrent_runs=50), job("b", max_concurrent_runs=50)
    first = [create(world.store, busy).run_id for _ in range(4)]
    second = [create(world.store, idle).run_id for _ in range(2)]
    assert world.store.waiting(10) == [first[0], second[0], first[1], second[1], first[2], first[3]]
    assert world.store.waiting(2) == [first[0], second[0]]
    lock = world.store.own(first[0])
    assert lock is not None
    with lock, world.store.transaction(lock) as tx:
        tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING)
    assert world.store.waiting(3) == [second[0], first[1], second[1]]


def test_runs_executed_here_and_by_the_daemon_count_for_one_limit(world: World) -> None:
    assert create(world.store, job(), "here").state is LifeCycle.PENDING
    assert create(world.store, job(), "daemon").state is LifeCycle.SKIPPED
    assert create(world.store, job(), "here").state is LifeCycle.SKIPPED
    assert world.store.waiting(10) == []


def test_recovery_leaves_what_waits_for_the_daemon(world: World) -> None:
    """docs/reliability.md, D1: any command may look into the home while no daemon runs."""
    waiting, here = create(world.store, job("a")), create(world.store, job("b"), "here")
    assert recovery.recover(world.store, world.clock, lambda run_id: "no such marker", ()) == [here.run_id]
    assert world.store.unfinished() == world.store.unfinished("daemon") == [waiting.run_id]


def test_a_run_that_has_not_begun_can_be_cancelled(world: World) -> None:
    queueing = job(queue_enabled=True)
    world.load(queueing)
    going, queued = create(world.store, queueing), create(world.store, queueing)
    assert world.scheduler.cancel(queued.run_id)
    run = world.store.run(queued.run_id)
    assert (run.state, run.result, run.message) == (LifeCycle.TERMINATED, Result.CANCELED, "cancelled before it began")
    assert [(attempt.state, attempt.result) for attempt in run.attempts] == [(LifeCycle.TERMINATED, Result.CANCELED)]
    assert [type(event) for event in world.store.events(run.run_id)] == [RunQueued, RunEnded]
    assert not world.scheduler.cancel(queued.run_id)
    world.end(going.run_id)
    assert not world.scheduler.cancel(going.run_id)


# -- what others ask and see ------------------------------------------------------------------------------------------


def test_each_request_is_taken_once_and_in_order(world: World) -> None:
    run = create(world.store, job())
    other = world.store.another()
    other.request("cancel", run.run_id)
    other.request("cancel", run.run_id, "t")
    other.request("reload")
    taken = world.store.take_requests()
    assert [(request.kind, request.run_id, request.task_key) for request in taken] == [
        ("cancel", run.run_id, None),
        ("cancel", run.run_id, "t"),
        ("reload", None, None),
    ]
    assert world.store.take_requests() == other.take_requests() == []
    with pytest.raises(UsageError, match="there is no run 99"):
        other.request("cancel", 99)
    other.close()


def test_looking_for_requests_takes_no_lock(world: World, tmp_path: Path) -> None:
    impatient = Store.open(tmp_path / "home", world.clock, wait=0.0)
    writer = sqlite3.connect(tmp_path / "home" / "state.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert impatient.take_requests() == []
    writer.execute("ROLLBACK")
    writer.close()
    impatient.close()


def test_a_job_that_is_not_known_is_refused_with_the_likely_name(world: World) -> None:
    world.load(job("nightly"))
    for act in (world.store.pause, world.store.resume, world.store.ticks):
        with pytest.raises(UsageError, match=r"there is no job 'nigthly' in .* \(did you mean 'nightly'\?\)"):
            act("nigthly")


def test_a_pause_outlives_the_file(world: World) -> None:
    """A file that is moved away and back does not start a job that a person stopped."""
    world.load(job())
    world.store.pause("daily")
    world.load()
    world.load(job())
    assert world.tick(HOUR).created == ()
    assert [row.paused for row in world.store.jobs()] == [True]


def test_the_list_of_jobs_tells_how_each_stands(world: World) -> None:
    world.load(job("busy", queue_enabled=True), job("idle", schedule=None))
    created = [run for _ in range(7) for run in world.tick(MINUTE).created]
    world.store.pause("busy")
    busy, idle = world.store.jobs()
    assert (busy.name, busy.file, busy.paused, busy.active, busy.queued, busy.runs) == (
        "busy", "/conf/busy.yml", True, 1, 6, 7,
    )  # fmt: skip
    assert [(run.run_id, run.state) for run in busy.recent] == [(run, "QUEUED") for run in created[:-6:-1]]
    assert (idle.name, idle.active, idle.queued, idle.recent, idle.error) == ("idle", 0, 0, (), "")


def test_a_leader_is_fenced_by_the_next_one_of_the_same_name(world: World) -> None:
    """docs/reliability.md, D10."""
    first, other, second = world.store.lead("x"), world.store.lead("y"), world.store.lead("x")
    assert (first.epoch, other.epoch, second.epoch) == (1, 1, 2)
    with pytest.raises(FencedError, match="another x has taken over"), world.store.leading(first):
        pytest.fail("nothing may be written")
    with world.store.leading(second) as tx:
        assert tx.job_ids(["a", "b"]) == tx.job_ids(["b", "a"]) == {"a": 1, "b": 2}


# -- events -----------------------------------------------------------------------------------------------------------


def test_a_missed_tick_is_delivered_and_logged_with_its_job(world: World, tmp_path: Path) -> None:
    taken: list[tuple[AnyEvent, str]] = []
    came = threading.Event()

    class Notifier:
        __name__ = "notifier"

        @hookimpl
        def on_event(self, event: AnyEvent, delivery_id: str) -> None:
            if isinstance(event, TickMissed):
                taken.append((event, delivery_id))
                came.set()

    plugins = registry.load(extra=[Notifier()])
    told: list[None] = []
    world.scheduler = type(world.scheduler)(
        world.store, world.clock, plugins.subscribers, world.store.lead("daemon"), committed=lambda: told.append(None)
    )
    world.load(job(catch_up="none"))
    assert told == []
    world.tick(3 * MINUTE + 40_000)
    assert told == [None]
    bus = Bus(world.store, plugins, world.clock)
    assert came.wait(20)
    bus.close()
    ((event, delivery_id),) = taken
    assert delivery_id == f"-{event.job_id}-1-notifier"
    assert event == TickMissed(
        time=world.clock.wall,
        job_id=event.job_id,
        job_name="daily",
        due=START + MINUTE,
        through=START + 3 * MINUTE,
        count=3,
        reason="nobody looked in time; catch_up is none",
    )
    (line,) = (tmp_path / "home" / "jobs" / str(event.job_id) / "run.jsonl").read_text().splitlines()
    assert msgspec.json.decode(line)["kind"] == "tick_missed"


# -- the schema -------------------------------------------------------------------------------------------------------


def test_a_home_of_the_first_schema_keeps_its_runs_events_and_deliveries(tmp_path: Path) -> None:
    """docs/reliability.md, D20."""
    (tmp_path / "home").mkdir()
    old = sqlite3.connect(tmp_path / "home" / "state.db")
    old.executescript(f"{migrations()[0]}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    event = RunQueued(time=1, run_id=1, job_id=1, job_name="daily")
    old.executescript("INSERT INTO jobs VALUES (1, 'daily', 1); INSERT INTO snapshots VALUES (x'00', '{}');")
    old.execute(
        "INSERT INTO runs (run_id, job_id, number_in_job, snapshot, state, trigger_type, trigger_time) "
        "VALUES (1, 1, 1, x'00', 'PENDING', 'ONE_TIME', 5)"
    )
    old.execute("INSERT INTO events VALUES (1, 1, ?)", [msgspec.json.encode(event).decode()])
    old.execute("INSERT INTO deliveries (subscriber, run_id, number) VALUES ('mail', 1, 1)")
    old.commit()
    old.close()
    with Store.open(tmp_path / "home", SetClock()) as store:
        assert store.events(1) == [event]
        assert [pending.event for pending in store.outbox.pending("mail", 1, 9)] == [event]
        assert store.unfinished("here") == [1]
        assert store.waiting(9) == []
        store.outbox.settle(store.outbox.pending("mail", 1, 9))
        assert store._database._connection.execute("PRAGMA foreign_key_check").fetchall() == []


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ticks(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run ``wfengine ticks`` on the home and return its exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["ticks", *arguments, "--home", str(tmp_path / "home")])
        captured = capsys.readouterr()
        return ended.value.code, captured.out + captured.err

    return run


def test_the_command_lists_the_ledger_newest_first(world: World, ticks) -> None:
    world.load(job("a"), job("b", "0 0 * * * ?"))
    world.restart(after=HOUR + 2000)
    world.tick()
    code, out = ticks()
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["due", "job", "outcome", "run", "late", "reason"]
    assert sorted(row[:5] for row in rows[1:]) == [
        ["2026-01-01T00:01:00Z", "to", "2026-01-01T00:59:00Z,", "59", "instants"],
        ["2026-01-01T01:00:00Z", "a", "RUN", "1", "2.0"],
        ["2026-01-01T01:00:00Z", "b", "RUN", "3", "2.0"],
    ]
    code, out = ticks("b", "--output", "json")
    (tick,) = json.loads(out)["ticks"]
    assert code == 0
    assert tick == {
        "job_id": 2,
        "job_name": "b",
        "due": at("2026-01-01 01:00"),
        "through": at("2026-01-01 01:00"),
        "count": 1,
        "outcome": "RUN",
        "reason": "",
        "run_id": 3,
        "recorded_at": at("2026-01-01 01:00") + 2000,
    }
    assert len(json.loads(ticks("--limit", "1", "--output", "json")[1])["ticks"]) == 1


def test_the_command_names_a_job_it_does_not_know(world: World, ticks) -> None:
    world.load(job("nightly"))
    assert "no job has been due yet" in ticks()[1]
    code, out = ticks("nightli")
    assert code == 2
    assert "did you mean 'nightly'?" in out
