"""Whose commits a table's newest ones are: those of one attempt, or of others too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wfengine.spark import deltalog, register
from wfengine.spark.touched import Note
from wfengine.spark.warehouse import DEFAULT_SCHEMA, version

#: The operations that a statement's first word may have as a commit; any for other statements.
_OPERATIONS = {
    "INSERT": ("WRITE",),
    "MERGE": ("MERGE",),
    "UPDATE": ("UPDATE",),
    "DELETE": ("DELETE",),
    "CREATE": ("CREATE", "WRITE"),
    "REPLACE": ("CREATE", "WRITE", "REPLACE"),
}
#: Statements never come from this library, so neither do their commits.
_LIBRARY = "delta-rs"


class Change(NamedTuple):
    """What became of one table since an attempt began to write to it."""

    path: Path
    #: The name as the task said it.
    table: str
    #: Version before the attempt's first write, and the newest one; -1 when there was or is no table.
    before: int
    after: int
    #: Versions that the attempt has made, and those that are not proved to be its own.
    own: tuple[int, ...]
    others: tuple[int, ...]
    #: Whether one of the others may be the attempt's own all the same.
    doubt: bool
    #: Whether the attempt dropped a table that was there before it.
    dropped: bool
    #: The ledger's length before the attempt's first write.
    ledger: int
    #: Whether the engine may still be at a write of the attempt, because no answer came.
    unanswered: bool

    @property
    def base(self) -> int:
        """The version that the attempt's first commit followed."""
        return self.own[0] - 1 if self.own and not self.dropped else self.before


def changes(notes: Sequence[Note], stamp: str, warehouse: Path) -> list[Change]:
    """Return what an attempt with this stamp did to each table that it wrote to or declared, in order of first touch.

    A commit is the attempt's own when it carries the stamp. A statement that cannot carry it is answered for by the
    attempt's notes: no other such statement was under way, and there is exactly one commit that can be its own.
    """
    answers = {note.number: note for note in notes if note.what == "answered"}
    by_path: dict[str, list[Note]] = {}
    for note in notes:
        if note.what == "write" and note.version is not None:
            by_path.setdefault(note.path, []).append(note)
    return [_change(Path(path), writes, answers, stamp, warehouse) for path, writes in by_path.items()]


def _change(path: Path, writes: list[Note], answers: dict[int, Note], stamp: str, warehouse: Path) -> Change:
    first = writes[0]
    drops = [index for index, write in enumerate(writes) if write.operation.startswith("DROP")]
    # A dropped table's log is gone; what counts is what came after.
    counted = writes[drops[-1] + 1 :] if drops else writes
    before = counted[0].version if counted and counted[0].version is not None else -1
    while before >= 0 and _stamp(deltalog.info(deltalog.commit(path, before))) == stamp:
        before -= 1
    after = version(path)
    infos = {number: deltalog.info(deltalog.commit(path, number)) for number in range(before + 1, after + 1)}
    own = {number for number, info in infos.items() if _stamp(info) == stamp}
    doubt = False
    for write in counted:
        rest = {number: info for number, info in infos.items() if number not in own}
        mine, unsure = _answered_for(write, answers.get(write.number), rest, warehouse)
        # With a userMetadata of the user's own in the place of the stamp nobody can tell.
        unsure |= bool(write.operation) and write.place is None and write.stamp != stamp and bool(rest)
        own |= mine
        doubt |= unsure
    was_there = first.version is not None and first.version >= 0
    declared = not any(write.operation for write in writes)
    return Change(
        path=path,
        table=name_of(next((write for write in writes if write.operation), first), warehouse),
        before=first.version if drops and first.version is not None else before,
        after=after,
        own=tuple(sorted(own)),
        others=tuple(number for number in infos if number not in own),
        # Of a table that was only declared nobody knows how it was written.
        doubt=doubt or (declared and not own and bool(infos)),
        dropped=bool(drops) and was_there,
        ledger=first.ledger,
        unanswered=any(write.operation and write.number not in answers for write in writes),
    )


def _answered_for(
    write: Note, answer: Note | None, rest: dict[int, dict[str, Any]], warehouse: Path
) -> tuple[set[int], bool]:
    """Return the commit of a statement without a stamp when it is proved to be its own, and whether there is doubt."""
    if write.place is None or write.version is None:
        return set(), False
    until = register.next_began_at(warehouse, Path(write.path), write.place)
    limits = [limit for limit in (answer.version if answer else None, until) if limit is not None]
    if until == register.UNKNOWN:
        limits = [limit for limit in limits if limit != until]
    window = {
        number: info for number, info in rest.items() if number > write.version and all(number <= at for at in limits)
    }
    words = _OPERATIONS.get(write.operation.split()[0], ("",))
    possible = {number for number, info in window.items() if _may_be(info, words)}
    if not possible or (answer and answer.failed):
        return set(), False
    sure = write.alone and until != register.UNKNOWN and len(possible) == 1
    return (possible, False) if sure else (set(), True)


def _may_be(info: dict[str, Any], words: tuple[str, ...]) -> bool:
    """Say whether a statement that begins with one of these operations can have made a commit."""
    engine = not str(info.get("engineInfo", "")).startswith(_LIBRARY)
    return engine and not _stamp(info) and str(info.get("operation", "")).startswith(words)


def name_of(note: Note, warehouse: Path) -> str:
    """Return the name of a table as the task said it, and of one that was addressed by its path in the warehouse."""
    path = Path(note.path)
    if "/" not in note.table or not path.is_relative_to(warehouse):
        return note.table
    parts = path.relative_to(warehouse).parts
    return ".".join(parts).removeprefix(f"{DEFAULT_SCHEMA}.") if 1 < len(parts) <= 3 else note.table


def _stamp(info: dict[str, Any]) -> str:
    return str(info.get("userMetadata") or "")
