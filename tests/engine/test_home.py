"""The home folder, and the state files that are refused in one sentence (docs/reliability.md, D3 to D9 and D20)."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from wfengine import home as folders
from wfengine.errors import DiskFullError, StateError
from wfengine.home import FileLock, filesystem_type, private_folder, refuse_network
from wfengine.jobs import Job, Task
from wfengine.states import LifeCycle, Trigger
from wfengine.store import Store
from wfengine.store.database import APPLICATION_ID

JOB = Job(name="daily", tasks=(Task(task_key="t", kind="shell"),), max_concurrent_runs=1000)

MOUNTS = r"""22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 22 0:27 / /proc rw - proc proc rw
40 22 0:50 / /data rw,relatime shared:9 - nfs4 server:/export rw,vers=4.2
41 40 254:2 / /data/local rw - xfs /dev/vdb rw
42 22 0:51 / /mnt/my\040disk rw master:1 - cifs //server/share rw
43 22 0:52 / /hidden rw - nfs server:/old rw
44 22 0:53 / /hidden rw - tmpfs tmpfs rw
45 22 0:54 / /home/me/remote rw,nosuid - fuse.sshfs me@server: rw
a line that means nothing
"""


class FixedClock:
    def now_ms(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0


def create(store: Store) -> int:
    return store.create_run(JOB, parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=0)[0].run_id


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A home with some runs, closed."""
    with Store.open(tmp_path, FixedClock()) as store:
        for _ in range(50):
            create(store)
    return tmp_path


def refused(home: Path, **options: object) -> str:
    """Open a home that must be refused, see that no byte of its state changed, return the sentence."""
    path = home / "state.db"
    before = path.read_bytes() if path.is_file() else None
    sentences = []
    for create_it in (True, False):
        with pytest.raises(StateError) as caught:
            Store.open(home, FixedClock(), create=create_it, **options)  # type: ignore[arg-type]
        sentences.append(str(caught.value))
    assert (path.read_bytes() if path.is_file() else None) == before
    assert "\n" not in sentences[0]
    assert "sqlite" not in sentences[0].lower()
    return sentences[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"this is not a database at all" * 300,
        lambda data: bytes(range(256)) * 64,
        lambda data: random.Random(0).randbytes(len(data)),
        lambda data: data[: len(data) // 2],
        lambda data: data[:50],
        lambda data: data[:16] + b"\0" * 84 + data[100:],
    ],
    ids=["text", "garbage", "encrypted", "cut in half", "cut in its header", "header of zeros"],
)
def test_a_damaged_state_file_is_refused_untouched(used: Path, damage) -> None:
    """docs/reliability.md, D6."""
    path = used / "state.db"
    path.write_bytes(damage(path.read_bytes()))
    assert "damaged or not a wfengine state" in refused(used)


def test_damage_inside_the_file_is_said_in_words_when_it_is_met(used: Path) -> None:
    """docs/reliability.md, D6."""
    path = used / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'runs'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data = path.read_bytes()
    path.write_bytes(data[: (page - 1) * size] + b"\xff" * size + data[page * size :])
    with Store.open(used, FixedClock()) as store, pytest.raises(StateError, match="damaged or not a wfengine state"):
        store.runs()


def test_a_newer_schema_is_refused_untouched(used: Path) -> None:
    """docs/reliability.md, D20."""
    with sqlite3.connect(used / "state.db") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "written by a newer wfengine (schema 999" in refused(used)


def test_the_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    """docs/reliability.md, D20."""
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    assert "database of another program" in refused(tmp_path)


def test_a_state_file_that_vanished_beside_its_runs_is_not_replaced_by_an_empty_one(used: Path) -> None:
    """docs/reliability.md, D8: the ids of old runs must not come again."""
    private_folder(used / "runs" / "1")
    (used / "state.db").unlink()
    assert "missing or empty" in refused(used)
    assert not (used / "state.db").exists()
    (used / "state.db").touch()
    with pytest.raises(StateError, match="missing or empty"):
        Store.open(used, FixedClock())


def test_a_home_that_is_not_there_is_not_made_for_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"there is no state in .*: run a job first"):
        Store.open(tmp_path / "none", FixedClock(), create=False)
    assert not (tmp_path / "none").exists()


def test_a_creation_that_was_interrupted_is_finished_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    with Store.open(tmp_path, FixedClock()) as store:
        assert create(store) == 1
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    connection.close()


def test_many_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    """docs/reliability.md, D10: it is made once, and every run has an id of its own."""

    def open_and_create(_: int) -> int:
        with Store.open(tmp_path / "home", FixedClock()) as store:
            return create(store)

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(open_and_create, range(24)))
    assert sorted(ids) == list(range(1, 49, 2))


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """docs/reliability.md, D7."""
    (tmp_path / "home").write_text("mine")
    assert "is a file, not a folder" in refused(tmp_path / "home")
    assert (tmp_path / "home").read_text() == "mine"
    assert "cannot make the folder" in refused(tmp_path / "home" / "below")


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/reliability.md, D7; the error is injected because permissions do not bind every user."""

    def mkdir(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert "cannot make the folder" in refused(tmp_path / "home")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
@pytest.mark.parametrize(("place", "mode"), [("state.db", 0o400), (".", 0o500)], ids=["file", "folder"])
def test_a_read_only_file_or_folder_is_refused(used: Path, place: str, mode: int) -> None:
    """docs/reliability.md, D7."""
    former = (used / place).stat().st_mode
    (used / place).chmod(mode)
    try:
        assert "is read-only" in refused(used)
    finally:
        (used / place).chmod(former)


@pytest.mark.parametrize("place", ["state.db", "."], ids=["file", "folder"])
def test_what_the_system_calls_read_only_is_refused(used: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/reliability.md, D7; as a mount that is read-only appears to any user."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != used / place)
    assert f"{used / place} is read-only" in refused(used)


def test_a_file_that_becomes_read_only_is_said_in_words(used: Path) -> None:
    """docs/reliability.md, D7."""
    with Store.open(used, FixedClock()) as store:
        store._database._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(StateError, match="cannot be written: check the permissions"):
            create(store)


def test_a_full_disk_undoes_the_change_and_the_same_change_works_later(tmp_path: Path) -> None:
    """docs/reliability.md, D3."""
    with Store.open(tmp_path, FixedClock()) as store:
        run_id = create(store)
        lock = store.own(run_id)
        assert lock is not None
        connection = store._database._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(3):
            with pytest.raises(DiskFullError, match="is full: free some space"), store.transaction(lock) as tx:
                tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING, message="x" * 100_000)
        assert store.run(run_id).state is LifeCycle.PENDING
        connection.execute("PRAGMA max_page_count = 1000000")
        with store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING, message="x" * 100_000)
        assert store.run(run_id).state is LifeCycle.RUNNING


def test_a_writer_that_never_ends_is_named_after_a_bounded_wait(used: Path) -> None:
    """docs/reliability.md, D5: the wait is given, so that nobody waits for this test."""
    with Store.open(used, FixedClock()) as holder, Store.open(used, FixedClock(), wait=0) as store:
        with holder._database.writing():
            with pytest.raises(StateError) as caught:
                create(store)
            assert len(store.runs()) == 20
        assert "another process has been writing" in str(caught.value)
        assert "database is locked" not in str(caught.value)
        assert create(store)


def test_a_home_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """docs/reliability.md, D9."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path} rw - nfs4 server:/a rw\n")
    with pytest.raises(StateError, match=r"network file system \(nfs4\)"):
        refuse_network(tmp_path / "home", mounts)
    refuse_network(Path("/"), mounts)
    refuse_network(tmp_path, tmp_path / "there is no such file")


def test_a_network_file_system_is_found_before_anything_is_made(tmp_path: Path, monkeypatch) -> None:
    """docs/reliability.md, D9."""
    monkeypatch.setattr(folders, "filesystem_type", lambda mounts, path: "fuse.sshfs")
    with pytest.raises(StateError, match=r"network file system \(fuse.sshfs\)"):
        Store.open(tmp_path / "home", FixedClock())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/x", "ext4"),
        ("/data", "nfs4"),
        ("/data/a/b", "nfs4"),
        ("/data/local/a", "xfs"),
        ("/database", "ext4"),
        ("/mnt/my disk/home", "cifs"),
        ("/hidden/x", "tmpfs"),
        ("/home/me/remote/x", "fuse.sshfs"),
    ],
)
def test_the_nearest_and_latest_mount_point_tells_the_file_system(path: str, kind: str) -> None:
    """docs/reliability.md, D9."""
    assert filesystem_type(MOUNTS, Path(path)) == kind


def test_a_lock_has_one_holder_and_is_free_after_release(tmp_path: Path) -> None:
    """docs/reliability.md, D10."""
    first = FileLock.take(tmp_path / "lock")
    assert first is not None
    assert FileLock.take(tmp_path / "lock") is None
    first.release()
    first.release()
    second = FileLock.take(tmp_path / "lock")
    assert second is not None
    second.release()
