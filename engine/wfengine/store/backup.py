"""Copies of the state file: made while others write, and put back with all former owners fenced."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from wfengine import home as folders
from wfengine.clock import Clock, iso
from wfengine.errors import StateError, UsageError
from wfengine.failpoints import failpoint
from wfengine.store import file as state_file
from wfengine.store.database import Database, migrations

#: What a run takes from the counter at most, where the counter itself cannot be asked.
FAR = 1_000_000
_WAIT = 30.0
_BLOCK = 1024 * 1024
_SIDES = ("-wal", "-shm")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says about itself, in the file beside it."""

    #: Version of the schema of the copy.
    schema: int
    sha256: str
    #: Bytes of the copy.
    size: int
    #: When it was made, in UTC.
    made_at: str
    #: The home it is of.
    home: str


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did."""

    manifest: Manifest
    #: Where the replaced state is kept; None when there was none.
    kept: Path | None
    #: Folders of runs that the backup does not know.
    leftovers: int


def manifest_of(path: Path) -> Path:
    """Return the file that holds the manifest of a backup."""
    return path.with_name(f"{path.name}.manifest.json")


def make(database: Database, path: Path, clock: Clock) -> Manifest:
    """Copy the state to the new file ``path`` for this user alone, then write its manifest beside it.

    A backup without a manifest is not complete. Raises UsageError when one of the files exists, StateError when they
    cannot be written.
    """
    manifest_path = manifest_of(path)
    for one in (path, manifest_path):
        if one.exists() or one.is_symlink():
            raise UsageError(f"{one} exists: name another file, a backup overwrites nothing")
    try:
        os.close(folders.open_private(path, os.O_RDWR | os.O_EXCL))
        try:
            database.copy_to(path)
            _sync(path)
            found = Manifest(
                schema=len(migrations()),
                sha256=_digest(path),
                size=path.stat().st_size,
                made_at=iso(clock.now_ms()),
                home=str(database.path.parent),
            )
            _write(manifest_path, found)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise folders.state_error(f"cannot write {path}: {error.strerror or error}", error) from error
    return found


def _write(path: Path, found: Manifest) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with open(folders.open_private(fresh, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    failpoint("backup.before_rename")
    os.replace(fresh, path)
    failpoint("backup.after_rename")
    _sync(path.parent)


def check(path: Path) -> Manifest:
    """Compare a backup with its manifest. Raises UsageError when it is not whole or too new."""
    beside = manifest_of(path)
    try:
        found = msgspec.json.decode(beside.read_bytes(), type=Manifest)
        whole = path.stat().st_size == found.size and _digest(path) == found.sha256
    except FileNotFoundError as error:
        raise UsageError(f"there is no {error.filename}: a backup is a file and its manifest beside it") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{beside} is no manifest of a backup: {error}") from error
    if not whole:
        raise UsageError(f"{path} is not what its manifest says: it was cut off or changed; take another backup")
    if found.schema > len(migrations()):
        raise UsageError(
            f"{path} was made by a newer wfengine (schema {found.schema}, this one knows {len(migrations())}): upgrade"
        )
    return found


def restore(home: Path, path: Path, clock: Clock) -> Restored:
    """Put the backup ``path`` in the place of the home's state, which is kept beside it; no folder of a run is touched.

    Nobody else may use the home meanwhile. Ids go on above all that were ever given here. Raises UsageError for a
    backup that is not whole, StateError when the home cannot be used.
    """
    manifest = check(path)
    folders.refuse_network(home)
    folders.private_folder(home)
    workshop = home / "restoring"
    now = clock.now_ms()
    try:
        shutil.rmtree(workshop, ignore_errors=True)
        fresh = folders.private_folder(workshop) / "state.db"
        os.close(folders.open_private(fresh, os.O_RDWR | os.O_EXCL))
        shutil.copyfile(path, fresh)
        leftovers = _prepare(fresh, home, now)
        kept = _exchange(home / "state.db", fresh, f".replaced-{iso(now).replace(':', '')}")
        shutil.rmtree(workshop)
    except OSError as error:
        raise folders.state_error(f"cannot restore {home}: {error.strerror or error}", error) from error
    return Restored(manifest=manifest, kept=kept, leftovers=leftovers)


def _prepare(fresh: Path, home: Path, now: int) -> int:
    """Bring the copy up to date with what happened since; return how many folders of runs it does not know."""
    there = run_folders(home)
    beyond = max(max(there, default=0) + 1, _next_id(home / "state.db", there))
    with _opened(fresh) as database:
        if faults := database.faults():
            raise UsageError(f"the backup is damaged: {faults[0]}; take another")
        with database.writing():
            # Greater than any epoch that was ever counted up to, and than that of an earlier restore.
            epoch = now // 1000
            database.change("fence_runs", epoch=epoch)
            database.change("fence_leaders", epoch=epoch)
            database.change("move_ids", next=beyond)
            database.change_many("add_leftover", [{"run_id": run_id, "since": now} for run_id in there])
            known = {row["run_id"] for row in database.rows("audit_leftovers")}
    _sync(fresh)
    return len(known.intersection(there))


def _next_id(path: Path, there: list[int]) -> int:
    """Return an id above all that the state to be replaced has given out."""
    if not there and not path.exists():
        return 1
    # It may be broken, which is why it is replaced.
    with suppress(StateError):
        state_file.expect_file(path)
        with _opened(path) as database:
            row = database.row("next_id")
            if row is not None:
                return int(row["next"])
    return max(there, default=0) + FAR


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    database = Database(path, wait=_WAIT)
    try:
        yield database
    finally:
        database.close()


def _exchange(path: Path, fresh: Path, suffix: str) -> Path | None:
    """Keep the file ``path`` under another name and let ``fresh`` take its place, in one step."""
    failpoint("restore.before_rename")
    kept = None
    if path.exists():
        kept = path.with_name(path.name + suffix)
        os.link(path, kept)
    # Closing the state has emptied these, unless it is broken or somebody looks at it.
    for side in _SIDES:
        if (beside := path.with_name(path.name + side)).exists():
            os.rename(beside, path.with_name(path.name + suffix + side))
    os.replace(fresh, path)
    failpoint("restore.after_rename")
    _sync(path.parent)
    return kept


def run_folders(home: Path) -> list[int]:
    """Return the ids of the runs that have a folder."""
    try:
        return [int(name) for name in os.listdir(home / "runs") if name.isascii() and name.isdigit()]
    except FileNotFoundError:
        return []


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
