"""A backup is one moment, whole and private; a restore loses nothing silently (docs/operating.md)."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import controlled
import msgspec
import pytest
from controlled import World, echo

from wfengine import control
from wfengine.app import Engine
from wfengine.errors import FencedError, LockedError, UsageError
from wfengine.runs import JobRun
from wfengine.states import LifeCycle, Trigger
from wfengine.store import Store
from wfengine.store.backup import FAR, manifest_of
from wfengine.store.database import migrations

JOB = controlled.job(echo("a"), echo("b", "a"), name="main", max_concurrent_runs=100)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / ".wfengine", (JOB,))
    yield world
    world.fleet.close()
    world.store.close()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(project=tmp_path)


def created(world: World) -> JobRun:
    run, _ = world.store.create_run(JOB, parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=1)
    return run


def ids(world: World) -> set[int]:
    """Return all ids that runs and attempts have had."""
    return {each for run in world.store.runs(limit=100) for each in (run.run_id, *(a.run_id for a in run.attempts))}


def test_a_backup_is_private_and_described_by_its_manifest(world: World, engine: Engine, tmp_path: Path) -> None:
    world.run(JOB)
    old = os.umask(0)
    try:
        made = engine.backup(tmp_path / "b")
    finally:
        os.umask(old)
    for path in (tmp_path / "b", manifest_of(tmp_path / "b")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(manifest_of(tmp_path / "b").read_text())
    assert (told["schema"], told["sha256"], told["home"]) == (len(migrations()), made.sha256, str(world.home))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["b", "b.manifest.json"]


def test_a_backup_overwrites_nothing(world: World, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "other.manifest.json").write_text("mine")
    for name in ("mine", "other"):
        with pytest.raises(UsageError, match="exists: name another file"):
            engine.backup(tmp_path / name)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "other").exists()


def test_a_backup_that_cannot_be_written_leaves_nothing(world: World, engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot write"):
        engine.backup(tmp_path / "missing" / "b")
    assert not (tmp_path / "missing").exists()


def test_a_backup_in_the_middle_of_a_transaction_has_all_of_it_or_nothing(
    world: World, engine: Engine, tmp_path: Path
) -> None:
    """docs/reliability.md, D2."""
    first = world.run(JOB).run_id
    with world.store.grouped():
        open_run = world.begin(JOB)
        engine.backup(tmp_path / "b")
    world.finish(open_run)
    restored = tmp_path / "restored"
    Engine(restored, project=tmp_path).restore(tmp_path / "b")
    with Store.open(restored, world.clock) as store:
        assert [run.run_id for run in store.runs()] == [first]


def test_the_drill(world: World, engine: Engine, tmp_path: Path) -> None:
    """Run, back up, run on, restore, audit, run again: no id comes again, no folder is touched."""
    before = [world.run(JOB).run_id for _ in range(2)]
    engine.backup(tmp_path / "b")
    for _ in range(3):
        world.run(JOB)
    given = ids(world)
    marks = {path: path.stat().st_mtime_ns for path in sorted((world.home / "runs").rglob("*"))}
    world.fleet.close()
    world.store.close()
    done = engine.restore(tmp_path / "b")
    assert {path: path.stat().st_mtime_ns for path in sorted((world.home / "runs").rglob("*"))} == marks
    assert (done.leftovers, done.kept is not None and done.kept.exists()) == (3, True)
    assert engine.audit().breaks == ()
    again = World(world.home, (JOB,))
    assert [run.run_id for run in again.store.runs()] == before[::-1]
    fresh = again.run(JOB)
    assert not given.intersection({fresh.run_id, *(attempt.run_id for attempt in fresh.attempts)})
    assert engine.audit().breaks == ()
    # What was replaced can be put back itself.
    assert done.kept is not None
    with Store.open(_home_of(done.kept, tmp_path / "kept"), world.clock) as kept:
        assert len(kept.runs()) == 5
    again.fleet.close()
    again.store.close()


def _home_of(state: Path, home: Path) -> Path:
    home.mkdir(0o700)
    (home / "state.db").write_bytes(state.read_bytes())
    return home


def test_a_state_that_is_broken_is_replaced_and_ids_still_do_not_come_again(
    world: World, engine: Engine, tmp_path: Path
) -> None:
    """docs/reliability.md, D6."""
    world.run(JOB)
    engine.backup(tmp_path / "b")
    last = world.run(JOB).run_id
    world.fleet.close()
    world.store.close()
    (world.home / "state.db").write_bytes(b"no database" * 1000)
    engine.restore(tmp_path / "b")
    again = World(world.home, (JOB,))
    assert again.run(JOB).run_id == last + FAR
    assert engine.audit().breaks == ()
    again.fleet.close()
    again.store.close()


def test_a_state_that_was_deleted_is_restored(world: World, engine: Engine, tmp_path: Path) -> None:
    """docs/reliability.md, D8."""
    world.run(JOB)
    engine.backup(tmp_path / "b")
    world.fleet.close()
    world.store.close()
    (world.home / "state.db").unlink()
    assert engine.restore(tmp_path / "b").kept is None
    assert engine.audit().breaks == ()


def test_a_former_owner_and_a_former_daemon_are_fenced(world: World, engine: Engine, tmp_path: Path) -> None:
    """docs/reliability.md, D10."""
    run = created(world)
    lock, lead = world.store.own(run.run_id), world.store.lead("daemon")
    assert lock is not None
    engine.backup(tmp_path / "b")
    # It stalls so long that its lock is gone, as with a copy of a machine.
    lock.release()
    engine.restore(tmp_path / "b")
    with Store.open(world.home, world.clock) as store:
        with pytest.raises(FencedError), store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING)
        with pytest.raises(FencedError), store.leading(lead):
            raise AssertionError("it leads")
        assert store.own(run.run_id) is not None
        assert store.lead("daemon").epoch > lead.epoch


def test_a_home_with_a_live_run_or_daemon_is_not_restored(world: World, engine: Engine, tmp_path: Path) -> None:
    engine.backup(tmp_path / "b")
    run = created(world)
    lock = world.store.own(run.run_id)
    assert lock is not None
    with lock, pytest.raises(LockedError, match=f"run {run.run_id} is being executed"):
        engine.restore(tmp_path / "b")
    seat = control.Seat.take(world.home)
    with pytest.raises(LockedError, match=f"the daemon with process id {os.getpid()}"):
        engine.restore(tmp_path / "b")
    seat.leave()
    assert [each.run_id for each in world.store.runs()] == [run.run_id]


def test_a_backup_that_was_cut_off_changed_or_is_too_new_is_refused(
    world: World, engine: Engine, tmp_path: Path
) -> None:
    """docs/reliability.md, D20."""
    world.run(JOB)
    path = tmp_path / "b"
    engine.backup(path)
    whole, manifest = path.read_bytes(), manifest_of(path).read_bytes()
    state = (world.home / "state.db").read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(UsageError, match=message):
            engine.restore(path)
        path.write_bytes(whole)
        manifest_of(path).write_bytes(manifest)

    path.write_bytes(whole[:-1])
    refused("cut off or changed")
    path.write_bytes(whole[:5000] + b"x" + whole[5001:])
    refused("cut off or changed")
    manifest_of(path).write_bytes(msgspec.json.encode({**json.loads(manifest), "schema": 999}))
    refused("made by a newer wfengine")
    manifest_of(path).write_bytes(b"{}")
    refused("is no manifest")
    manifest_of(path).unlink()
    refused("a file and its manifest beside it")
    assert (world.home / "state.db").read_bytes() == state


def test_folders_that_a_restore_left_go_when_they_are_old(world: World, engine: Engine, tmp_path: Path) -> None:
    engine.backup(tmp_path / "b")
    run_id = world.run(JOB).run_id
    world.fleet.close()
    world.store.close()
    engine.restore(tmp_path / "b")
    assert engine.prune(60).folders == 0
    assert (world.home / "runs" / str(run_id)).exists()

    class Later:
        def now_ms(self) -> int:
            return engine.clock.now_ms() + 61 * 86_400_000

        def monotonic(self) -> float:
            return 0.0

    assert Engine(project=tmp_path, clock=Later()).prune(60).folders == 1
    assert not (world.home / "runs" / str(run_id)).exists()
