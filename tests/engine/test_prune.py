"""Old runs go with all that belongs to them, and nothing else does (docs/operating.md, Looking after a home)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import controlled
import pytest
from controlled import World, echo

from wfengine import control
from wfengine.app import Engine
from wfengine.errors import UsageError
from wfengine.events import RunEnded
from wfengine.states import LifeCycle, Trigger
from wfengine.store import NewRun, Store

DAY = 86_400_000
NOW = 100 * DAY
JOB = controlled.job(echo("a"), echo("b", "a"), name="main", max_concurrent_runs=100)


class Then:
    """A clock that stands."""

    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / ".wfengine", (JOB,))
    yield world
    world.fleet.close()
    world.store.close()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(project=tmp_path, clock=Then())


def ended_at(world: World, day: int, times: int = 1) -> list[int]:
    """Execute runs that end on a day."""
    world.clock.move(day * DAY)
    return [world.run(JOB).run_id for _ in range(times)]


def ids(store: Store) -> list[int]:
    return sorted(run.run_id for run in store.runs(limit=10_000))


def counts(world: World) -> dict[str, int]:
    with sqlite3.connect(world.home / "state.db") as state:
        tables = ("runs", "attempts", "events", "deliveries", "ticks", "snapshots", "repairs", "requests", "leftovers")
        found = {name: state.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in tables}
    state.close()
    return found


def folders(world: World) -> list[int]:
    return sorted(int(path.name) for path in (world.home / "runs").iterdir())


def test_runs_that_ended_before_the_limit_go_with_rows_and_folders(world: World, engine: Engine) -> None:
    old, new = ended_at(world, 30, 3), ended_at(world, 70, 2)
    assert folders(world) == [*old, *new]
    done = engine.prune(60)
    assert (done.runs, done.folders, done.before) == (3, 3, 40 * DAY)
    assert ids(world.store) == folders(world) == new
    left = counts(world)
    assert (left["runs"], left["attempts"], left["snapshots"], left["leftovers"]) == (2, 4, 1, 0)
    assert engine.audit().breaks == ()
    assert engine.prune(60).runs == 0


def test_a_dry_run_says_what_would_go_and_removes_nothing(world: World, engine: Engine) -> None:
    ended_at(world, 30, 3)
    before = counts(world)
    assert engine.prune(60, dry_run=True).runs == 3
    assert counts(world) == before
    assert len(folders(world)) == 3


def test_a_run_that_has_not_ended_stays_and_so_does_what_it_started(world: World, engine: Engine) -> None:
    world.clock.move(1 * DAY)
    waiting, _ = world.store.create_run(
        JOB, parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=DAY, by="daemon"
    )
    open_run, child = waiting.run_id, world.run(JOB).run_id
    with sqlite3.connect(world.home / "state.db") as state:
        state.execute("UPDATE runs SET parent_run_id = ? WHERE run_id = ?", (open_run, child))
    state.close()
    assert engine.prune(60).runs == 0
    assert ids(world.store) == [open_run, child]
    world.clock.move(2 * DAY)
    world.fleet.take_up(open_run)
    world.finish(open_run)
    assert engine.prune(60).runs == 2
    assert (ids(world.store), folders(world)) == ([], [])


def test_runs_go_in_batches_of_short_transactions(world: World, engine: Engine, monkeypatch) -> None:
    monkeypatch.setattr("wfengine.store.pruning.MOST_ATTEMPTS", 5)
    ended_at(world, 30, 7)
    pruning = world.store.pruning(40 * DAY)
    assert len(pruning.batch(0)) == 2
    assert engine.prune(60).runs == 7
    assert counts(world)["attempts"] == 0


def test_a_run_that_was_repaired_a_moment_ago_stays(world: World, engine: Engine) -> None:
    (run_id,) = ended_at(world, 30)
    pruning = world.store.pruning(40 * DAY)
    assert pruning.batch(0) == [run_id]
    with sqlite3.connect(world.home / "state.db") as state:
        state.execute("UPDATE runs SET state = 'PENDING', end_time = NULL")
    state.close()
    assert pruning.forget([run_id]) == 0
    assert (ids(world.store), pruning.leftovers()) == ([run_id], [])


def test_ticks_go_with_their_runs_and_missed_ones_by_their_own_time(world: World, engine: Engine) -> None:
    """docs/semantics.md, section 7: the ledger tells of what is kept; the numbers of events go on."""
    lead = world.store.lead("daemon")
    for day in (30, 31, 70):
        world.clock.move(day * DAY)
        with world.store.leading(lead) as tx:
            (job_id,) = tx.job_ids([JOB.name]).values()
            due = world.clock.now_ms()
            new = NewRun(job=JOB, parameters=lambda *ids: {}, trigger=Trigger.PERIODIC, trigger_time=due, by="daemon")
            world.fleet.take_up(tx.run(job_id, new))
            tx.missed(job_id, JOB.name, due + 1, "down", through=due + 1, count=1)
        for pending in world.store.outbox.pending("run.jsonl", -job_id, 10):
            world.store.outbox.settle([pending])
        for run_id in world.store.unfinished():
            world.finish(run_id)
    done = engine.prune(60)
    assert (done.runs, done.ticks) == (2, 2)
    assert [(tick.outcome, tick.due // DAY) for tick in world.store.ticks()] == [("MISSED", 70), ("RUN", 70)]
    assert [event.due // DAY for event in world.store.events(-job_id)] == [70]
    assert engine.audit().breaks == ()


def test_deliveries_and_repairs_of_old_runs_go_too(world: World, engine: Engine) -> None:
    (run_id,) = ended_at(world, 30)
    with sqlite3.connect(world.home / "state.db") as state:
        state.execute(
            "INSERT INTO repairs (run_id, number, repair_id, asked_at, snapshot, state)"
            " SELECT run_id, 1, 900, 1, snapshot, 'TERMINATED' FROM runs"
        )
        state.execute("INSERT INTO requests (kind, run_id, asked_at) SELECT 'cancel', run_id, 1 FROM runs")
    state.close()
    assert counts(world)["deliveries"] > 0
    engine.prune(60)
    assert set(counts(world).values()) == {0}
    assert run_id not in folders(world)


def test_what_a_crash_left_between_rows_and_folders_breaks_no_rule_and_goes_later(world: World, engine: Engine) -> None:
    """docs/reliability.md, D1."""
    old = ended_at(world, 30, 2)
    pruning = world.store.pruning(40 * DAY)
    assert pruning.forget(old) == 2
    assert (ids(world.store), folders(world)) == ([], old)
    assert engine.audit().breaks == ()
    done = engine.prune(60)
    assert (done.runs, done.folders, folders(world)) == (0, 2, [])


def test_ids_do_not_come_again(world: World, engine: Engine) -> None:
    old = ended_at(world, 30, 2)
    engine.prune(60)
    world.clock.move(99 * DAY)
    run = world.run(JOB)
    assert run.run_id > max(old)
    assert run.number_in_job == 3
    assert engine.audit().breaks == ()


def test_the_file_shrinks_only_when_nobody_works_with_it(world: World, engine: Engine, monkeypatch) -> None:
    ended_at(world, 30, 50)
    monkeypatch.setattr(control, "daemon_alive", lambda home: True)
    shrunk: list[int] = []
    monkeypatch.setattr(Store, "shrink", lambda self: shrunk.append(1))
    engine.prune(60)
    assert shrunk == []
    monkeypatch.undo()
    ended_at(world, 31, 50)
    size = (world.home / "state.db").stat().st_size
    engine.prune(60)
    assert (world.home / "state.db").stat().st_size < size


def test_a_run_goes_on_while_others_are_pruned(world: World, engine: Engine) -> None:
    """The rows and the folder of a run under way are untouched, and it comes to its end."""
    ended_at(world, 30, 3)
    world.clock.move(99 * DAY)
    run_id = world.begin(JOB)
    assert engine.prune(60).runs == 3
    run = world.finish(run_id)
    assert (run.state, ids(world.store)) == (LifeCycle.TERMINATED, [run_id])
    assert any(isinstance(event, RunEnded) for event in world.store.events(run_id))
    assert engine.audit().breaks == ()


def test_less_than_a_day_and_a_missing_home_are_refused(world: World, engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one day"):
        engine.prune(0)
    with pytest.raises(UsageError, match="there is no state in"):
        Engine(tmp_path / "nowhere").prune(60)
