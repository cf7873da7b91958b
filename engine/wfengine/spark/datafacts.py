"""The tables that an attempt read and wrote, as facts, from its notes and the tables' own logs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from wfengine.runs import Facts, TableFact
from wfengine.spark import commits, deltalog, schemas
from wfengine.spark.commits import Change
from wfengine.spark.touched import Note

#: Tables that are reported of one attempt; the facts of every attempt are kept for months.
LIMIT = 100


def tables(notes: Sequence[Note], stamp: str, warehouse: Path) -> tuple[TableFact, ...]:
    """Return what was read, then what was written, each in order of first touch; at most 200 of them.

    What others committed meanwhile is not counted.
    """
    read = [
        TableFact(
            table=commits.name_of(note, warehouse),
            role="input",
            path=note.path,
            version_before=note.version,
            version_after=note.version,
        )
        for note in notes
        if note.what == "read"
    ]
    files = {
        note.path: TableFact(table=note.table, role="output", path=note.path, operation=note.operation)
        for note in notes
        if note.what == "write" and note.version is None
    }
    said = {note.path for note in notes if note.what == "write" and note.operation}
    written = [
        _fact(change)
        for change in commits.changes(notes, stamp, warehouse)
        # A declared table that nobody wrote to says nothing.
        if change.own or str(change.path) in said
    ]
    return (*read[:LIMIT], *[*written, *files.values()][:LIMIT])


def complete(facts: Facts, found: Sequence[TableFact]) -> Facts:
    """Add what was found to what a layer reports; where both speak of a table the layer is right."""
    if not found:
        return facts
    told = {_key(fact) for fact in facts.tables}
    paths = {path for path, _ in told}
    by_key = {_key(fact): fact for fact in found}
    own = [_completed(fact, by_key.get(_key(fact))) for fact in facts.tables]
    # A layer that reports a table as its output may look into it without that being an input.
    more = [fact for key, fact in by_key.items() if key not in told and not (key[1] and key[0] in paths)]
    tables = (*own, *more)
    rows = facts.rows_written
    outputs = [fact.rows for fact in tables if fact.role == "output"]
    if facts.rows_read is None and rows is None and outputs and None not in outputs:
        rows = sum(row for row in outputs if row is not None)
    return structs.replace(facts, tables=tables, rows_written=rows)


def _key(fact: TableFact) -> tuple[str, bool]:
    """Return what makes two facts speak of the same: the real path, and whether the table was read or written."""
    return os.path.realpath(fact.path), fact.role == "input"


def _completed(fact: TableFact, found: TableFact | None) -> TableFact:
    if found is None or fact.role == "input":
        return fact
    return structs.replace(
        fact,
        bytes=fact.bytes if fact.bytes is not None else found.bytes,
        operation=fact.operation or found.operation,
        schema_changes=fact.schema_changes or found.schema_changes,
    )


def _fact(change: Change) -> TableFact:
    made = [deltalog.commit(change.path, number) for number in change.own]
    rows = [deltalog.rows_of(actions) for actions in made]
    names = dict.fromkeys(str(deltalog.info(actions).get("operation", "")) for actions in made)
    return TableFact(
        table=change.table,
        role="output",
        path=str(change.path),
        version_before=change.base,
        version_after=change.own[-1] if change.own else change.base,
        rows=None if None in rows else sum(row for row in rows if row is not None),
        bytes=sum(deltalog.bytes_of(actions) for actions in made),
        operation=", ".join(filter(None, names)),
        schema_changes=_schema_changes(change, made),
    )


def _schema_changes(change: Change, made: list[list[dict[str, object]]]) -> tuple[str, ...]:
    """Compare the schemas around the attempt's commits; most commits do not touch it, and then nothing is read."""
    if change.base < 0 or not any("metaData" in action for actions in made for action in actions):
        return ()
    before, after = (deltalog.snapshot(change.path, at) for at in (change.base, change.own[-1]))
    return schemas.changes(before, after) if before and after else ()
