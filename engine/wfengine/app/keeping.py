"""What keeps a home in order over the years: the audit, pruning, backups."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import msgspec

from wfengine import audit, control, log
from wfengine import home as folders
from wfengine import store as stores
from wfengine.app.base import Base
from wfengine.errors import LockedError, UsageError
from wfengine.failpoints import failpoint
from wfengine.store import Manifest, Pruning, Restored, Store

#: The lock of a run, in its folder.
OWNER = "owner.lock"
_DAY_MS = 86_400_000


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found."""

    breaks: tuple[audit.Break, ...]
    #: What could not be looked at, and why.
    unchecked: tuple[str, ...]
    runs: int
    tables: int


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, or would be."""

    #: Epoch milliseconds; what ended before it goes.
    before: int
    runs: int
    #: Rows of the ledger that have no run.
    ticks: int
    folders: int


class Keeping(Base):
    """Operations on a home as a whole."""

    def audit(self) -> Audit:
        """Check the home and the ledgers of the warehouse's tables against the rules; changes nothing.

        Raises UsageError when there is no home yet.
        """
        from wfengine import tablecheck

        found = self.settings()
        with self._keep() as store:
            with store.inspecting() as inspection:
                runs = len(inspection.run_ids())
                breaks = list(audit.history(inspection))
            breaks += _folders(store)
        unchecked: list[str] = []
        tables = list(tablecheck.ledgers(found.warehouse))
        if tables and not tablecheck.countable():
            unchecked.append("the rows of tables: pyarrow or deltalake is missing: pip install 'wfengine[lakehouse]'")
        else:
            for path in tables:
                breaks += tablecheck.of_table(path, ".".join(path.relative_to(found.warehouse).parts))
        return Audit(breaks=tuple(breaks), unchecked=tuple(unchecked), runs=runs, tables=len(tables))

    def prune(self, keep_days: int, *, dry_run: bool = False) -> Pruned:
        """Remove runs that ended more than ``keep_days`` days ago, with all that belongs to them; see ``Pruning``.

        A daemon may work meanwhile. With ``dry_run`` it only says what would go.
        """
        if keep_days < 1:
            raise UsageError(f"keep at least one day, not {keep_days}")
        before = self._clock.now_ms() - keep_days * _DAY_MS
        with self._keep() as store:
            pruning = store.pruning(before)
            old = pruning.old()
            if dry_run:
                return Pruned(before=before, runs=old.runs, ticks=old.ticks, folders=old.folders)
            removed = _clear(store.home, pruning)
            runs = after = 0
            while batch := pruning.batch(after):
                failpoint("prune.before_rows")
                runs += pruning.forget(batch)
                failpoint("prune.after_rows")
                removed += _clear(store.home, pruning)
                after = batch[-1]
            ticks = 0
            while gone := pruning.forget_ticks():
                ticks += gone
            texts = pruning.forget_rest()
            if (runs or ticks or texts) and not control.daemon_alive(store.home) and not store.unfinished():
                store.shrink()
        return Pruned(before=before, runs=runs, ticks=ticks, folders=removed)

    def backup(self, path: str | Path) -> Manifest:
        """Copy the state to a new file, with a manifest beside it, while others go on; folders of runs are not in it.

        Raises UsageError when there is such a file already.
        """
        with self._keep() as store:
            return store.back_up(Path(path).absolute())

    def restore(self, path: str | Path) -> Restored:
        """Put a backup in the place of the home's state, which is kept beside it; no folder of a run is touched.

        Raises LockedError while a daemon or a run is alive in the home, UsageError for a backup that is not whole.
        """
        home = self.settings().home
        with ExitStack() as stack:
            stack.callback(control.Seat.take(home).leave)
            for run_id in stores.run_folders(home):
                _refuse_owner(home, run_id)
            return stores.restore(home, Path(path).absolute(), self._clock)

    def _keep(self) -> Store:
        home = self.settings().home
        if not (home / "state.db").exists():
            raise UsageError(f"there is no state in {home}: run a job first, or name another home with --home")
        return Store.open(home, self._clock, create=False)


def _folders(store: Store) -> list[audit.Break]:
    """Look twice when something seems wrong: a run may have begun, or gone, between a look at rows and at folders."""

    def bare(run_id: int) -> bool:
        folder = folders.run_folder(store.home, run_id)
        return all(each.name == OWNER for each in folder.iterdir()) if folder.exists() else True

    found: list[list[audit.Break]] = []
    for _ in range(2):
        there = set(stores.run_folders(store.home))
        with store.inspecting() as inspection:
            found.append(list(audit.of_folders(inspection, there, bare)))
        if not found[-1]:
            return []
    return [each for each in found[1] if each in found[0]]


def _clear(home: Path, pruning: Pruning) -> int:
    """Remove the folders whose rows are gone; one that does not go is tried again the next time."""
    gone = []
    for run_id in pruning.leftovers():
        folder = folders.run_folder(home, run_id)
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            log.get().warning("a folder cannot be removed", folder=str(folder), error=str(error))
            continue
        failpoint("prune.after_folder")
        gone.append(run_id)
    pruning.settled(gone)
    return len(gone)


def _refuse_owner(home: Path, run_id: int) -> None:
    path = folders.run_folder(home, run_id) / OWNER
    if not path.exists():
        return
    lock = folders.FileLock.take(path)
    if lock is None:
        raise LockedError(f"run {run_id} is being executed in {home}: wait for its end, or cancel it")
    lock.release()
