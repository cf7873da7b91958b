"""Undo what a failed attempt wrote: each of its tables goes back to the version before it, or none does."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

from wfengine.errors import WfengineError
from wfengine.failpoints import failpoint
from wfengine.spark import commits, deltalog, fence, touched
from wfengine.spark.commits import Change
from wfengine.spark.ledger import Ledger
from wfengine.spark.locks import locked
from wfengine.spark.stamp import properties
from wfengine.spark.touched import Note, Touched
from wfengine.spark.warehouse import PRIVATE, exists, version

#: Seconds that another writer of ours may hold a table's lock before nothing is undone.
LOCK_SECONDS = 60.0
#: Table features that the deltalake library restores exactly; of others it may lose rows or their meaning.
_SAFE = frozenset({"appendOnly", "invariants", "checkConstraints", "timestampNtz"})


def undo(
    folder: Path, stamp: str, warehouse: Path, stop: Callable[[str], None], *, lock_seconds: float = LOCK_SECONDS
) -> str:
    """Undo the writes of the attempt whose notes lie in ``folder``, and say in a sentence what became of them.

    ``stop`` is called with the id of a session that was not ended in order, to stop what the engine still does for it.
    Decided once: a second call returns the same sentence. Empty when nothing was written.
    """
    notes = touched.notes(folder)
    settled = next((note.text for note in notes if note.what == "settled"), None)
    if settled is not None:
        return settled
    if not any(note.what == "write" for note in notes):
        return ""
    for session in _left_open(notes):
        stop(session)
    try:
        text = _undo(notes, stamp, warehouse, lock_seconds)
    except WfengineError as error:
        text = f"not undone: {error}"
    Touched(Path(folder, touched.FILE), warehouse).settled(text)
    return text


def _left_open(notes: Sequence[Note]) -> list[str]:
    """Return the sessions that were opened and not closed; an attempt closes all of its sessions together."""
    open_ones: list[str] = []
    for note in notes:
        if note.what == "session":
            open_ones.append(note.text)
        elif note.what == "closed":
            open_ones.clear()
    return open_ones


def _undo(notes: Sequence[Note], stamp: str, warehouse: Path, lock_seconds: float) -> str:
    paths = sorted({note.path for note in notes if note.what == "write" and note.version is not None})
    with ExitStack() as stack:
        # In one order everywhere, so that two who undo never wait for each other.
        for path in filter(exists, map(Path, paths)):
            stack.enter_context(locked(path / PRIVATE / "lock", lock_seconds))
        for change in commits.changes(notes, stamp, warehouse):
            if change.unanswered and change.after >= 0 and not _unfit(change):
                # A commit that is still on its way fails on this one.
                fence.put_up(change.path, "undo", stamp)
        changed = [c for c in commits.changes(notes, stamp, warehouse) if c.own or c.doubt or c.dropped]
        reasons = [reason for change in changed if (reason := _refusal(change))]
        if reasons:
            return f"not undone: {'; '.join(reasons)}"
        # The ledgers first: rows that are there and said to be open are found by the next attempt, rows that are gone
        # and said to be there would be lost.
        for change in changed:
            Ledger(change.path / PRIVATE / "ledger.jsonl").reopen(change.ledger)
        failpoint("undo.after_reopen")
        return _restored(changed, stamp)


def _restored(changed: Sequence[Change], stamp: str) -> str:
    done: list[str] = []
    failed: list[str] = []
    for change in changed:
        try:
            done.append(_restore(change, stamp))
            failpoint("undo.after_restore")
        except WfengineError as error:  # noqa: PERF203 - one that fails must not keep the others
            failed.append(str(error))
    if failed:
        return f"{'partly' if done else 'not'} undone: {', '.join([*done, *failed])}"
    return f"undone: {', '.join(done)}" if done else ""


def _refusal(change: Change) -> str:
    """Say why the table cannot go back; empty when it can."""
    if change.dropped:
        return f"table {change.table} was dropped"
    later = [number for number in change.others if change.own and number > change.own[0]]
    if later or change.doubt:
        number = later[0] if later else change.others[0]
        info = deltalog.info(deltalog.commit(change.path, number))
        what = f"{info.get('operation', 'unknown')} by {info.get('engineInfo', 'an unknown engine')}"
        return f"version {number} of {change.table} ({what}) is not proved to be this attempt's own"
    return _unfit(change)


def _unfit(change: Change) -> str:
    """Say which of the table's features forbids a restore; empty when none does."""
    for at in {max(change.base, 0), change.after}:
        found = deltalog.snapshot(change.path, at)
        if found is None:
            return f"the log of {change.table} does not go back to version {at}"
        features = sorted(found.features - _SAFE)
        if found.column_mapping or features:
            return f"table {change.table} uses {', '.join(features) or 'column mapping'}, which cannot be restored here"
    return ""


def _restore(change: Change, stamp: str) -> str:
    import deltalake

    if change.base < 0:
        _remove(change)
        return f"{change.table} is removed, as it did not exist before"
    try:
        deltalake.DeltaTable(str(change.path)).restore(change.base, commit_properties=properties(stamp))
    except (deltalake.exceptions.DeltaError, OSError) as error:
        raise WfengineError(f"{change.table} could not be restored to version {change.base}: {error}") from error
    failpoint("undo.after_restore")
    return f"{change.table} is again as in version {change.base}"


def _remove(change: Change) -> None:
    """Remove the table and nothing else that may lie in its folder: its log at once, then its files."""
    if change.after < 0:
        return
    path = change.path
    made = [action for number in range(version(path) + 1) for action in deltalog.commit(path, number)]
    files = {unquote(action["add"]["path"]) for action in made if "add" in action}
    grave = path / f".undone-{uuid.uuid4().hex}"
    failpoint("undo.before_remove")
    os.rename(path / "_delta_log", grave)
    for name in files:
        file = path / name
        if ".." not in file.parts and file.is_relative_to(path):
            file.unlink(missing_ok=True)
    for folder in (grave, path / PRIVATE):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in [*sorted({(path / name).parent for name in files}, reverse=True), path]:
        _remove_empty(folder, path)


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and those above it up to ``top``, as far as they are empty."""
    while folder.is_relative_to(top) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
