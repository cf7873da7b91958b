"""Schemas compared as Delta compares them, and tables given new columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wfengine.errors import TaskFailed
from wfengine.spark.deltalog import Snapshot
from wfengine.spark.stamp import properties

#: Types that a value can be turned into without loss.
_WIDER: dict[str, frozenset[str]] = {
    "byte": frozenset({"short", "integer", "long", "float", "double"}),
    "short": frozenset({"integer", "long", "float", "double"}),
    "integer": frozenset({"long", "double"}),
    "long": frozenset(),
    "float": frozenset({"double"}),
    # A column of nothing but NULL fits everywhere.
    "void": frozenset(),
}
_NUMBERS = frozenset({"byte", "short", "integer", "long", "float", "double"})


def same(known: Snapshot, schema: dict[str, Any], partition_by: Sequence[str] = ()) -> bool:
    """Say whether a frame has the table's columns, types and partitions; whether null is allowed does not count."""
    return _bare(known.schema) == _bare(schema) and tuple(partition_by) == known.partition_columns


def reconcile(
    path: Path, known: Snapshot, schema: dict[str, Any], *, evolve: bool, lossless: bool, stamp: str, what: str = ""
) -> None:
    """Make sure that rows of ``schema`` can be written to the table without silent loss.

    New columns are added to the table with ``evolve``, in a commit with ``stamp``. ``lossless`` allows only types that
    convert without loss; otherwise everything that an INSERT may store. Raises TaskFailed with the sentence that Delta
    would say.
    """
    what = what or str(path)
    columns = {field["name"].lower(): field for field in known.schema["fields"]}
    new = [field for field in schema["fields"] if field["name"].lower() not in columns]
    refuse_types(what, known, schema, lossless=lossless)
    if not new:
        return
    names = ", ".join(field["name"] for field in new)
    if not evolve:
        raise TaskFailed(
            f"[DELTA_METADATA_MISMATCH] A schema mismatch was detected when writing to the Delta table {what}: it has"
            f" no column {names}. Set the option mergeSchema to true to add it, or leave it out"
        )
    add_columns(path, known, new, stamp)


def refuse_types(what: str, known: Snapshot, schema: dict[str, Any], *, lossless: bool) -> None:
    """Raise TaskFailed for the first column whose type the table cannot take."""
    columns = {field["name"].lower(): field for field in known.schema["fields"]}
    for field in schema["fields"]:
        column = columns.get(field["name"].lower())
        if column and not fits(field["type"], column["type"], lossless=lossless):
            raise TaskFailed(
                f"[DELTA_FAILED_TO_MERGE_FIELDS] Failed to merge fields: column {column['name']} of {what} has the type"
                f" {type_text(column['type'])}, the rows to write have {type_text(field['type'])}. Cast it first"
            )


def fits(source: Any, target: Any, *, lossless: bool) -> bool:
    """Say whether values of the type ``source`` may be stored in a column of the type ``target``."""
    source, target = _bare(source), _bare(target)
    if source == target or source == "void":
        return True
    if isinstance(source, dict) or isinstance(target, dict):
        return False
    if target in _WIDER.get(source, ()):
        return True
    return not lossless and _storable(source, target)


def _storable(source: str, target: str) -> bool:
    """Say whether Spark's ANSI store assignment lets an INSERT convert; the engine raises when a value overflows."""
    numeric = (_NUMBERS, "decimal")
    if all(kind in numeric[0] or kind.startswith(numeric[1]) for kind in (source, target)):
        return True
    return target == "string" or {source, target} <= {"date", "timestamp", "timestamp_ntz"}


def add_columns(path: Path, known: Snapshot, fields: list[dict[str, Any]], stamp: str) -> None:
    """Add nullable columns to the table in a commit of their own. Raises TaskFailed for a table with column mapping."""
    import deltalake

    refuse_column_mapping(path, known)
    loose = [{**field, "type": nullable(field["type"]), "nullable": True, "metadata": {}} for field in fields]
    wanted = deltalake.Schema.from_json(json.dumps({"type": "struct", "fields": loose}))
    deltalake.DeltaTable(str(path)).alter.add_columns(wanted.fields, commit_properties=properties(stamp))


def changes(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Say in sentences which columns were added, removed or given another type between two versions of a table."""
    old, new = ({f["name"]: type_text(f["type"]) for f in one.schema["fields"]} for one in (before, after))
    return (
        *(f"column {name} was added ({kind})" for name, kind in new.items() if name not in old),
        *(f"column {name} was removed ({kind})" for name, kind in old.items() if name not in new),
        *(
            f"column {name} was {old[name]} and is {kind}"
            for name, kind in new.items()
            if name in old and old[name] != kind
        ),
    )


def refuse_column_mapping(path: Path, known: Snapshot) -> None:
    """Raise TaskFailed for a table that the deltalake library would silently read and write as NULL."""
    if known.column_mapping:
        raise TaskFailed(f"{path} uses column mapping, so it cannot be changed here; rewrite it without mapping")


def nullable(kind: Any) -> Any:
    """Return a type in which everything may be null, as Delta stores it."""
    if not isinstance(kind, dict):
        return kind
    if kind["type"] == "struct":
        return {**kind, "fields": [{**f, "type": nullable(f["type"]), "nullable": True} for f in kind["fields"]]}
    if kind["type"] == "array":
        return {**kind, "elementType": nullable(kind["elementType"]), "containsNull": True}
    if kind["type"] == "map":
        return {**kind, "valueType": nullable(kind["valueType"]), "valueContainsNull": True}
    return kind


def _bare(kind: Any) -> Any:
    """Strip a type of everything but names and types; varchar and char are strings."""
    if not isinstance(kind, dict):
        return "string" if str(kind).startswith(("varchar", "char", "string")) else kind
    if kind["type"] == "struct":
        return {"type": "struct", "fields": [(f["name"].lower(), _bare(f["type"])) for f in kind["fields"]]}
    if kind["type"] == "array":
        return {"type": "array", "elementType": _bare(kind["elementType"])}
    return {name: _bare(part) for name, part in kind.items() if name in ("type", "keyType", "valueType")}


def type_text(kind: Any) -> str:
    """Write a type for people, as in ``struct<a:integer>``."""
    if not isinstance(kind, dict):
        return str(kind)
    if kind["type"] == "struct":
        return "struct<" + ", ".join(f"{f['name']}: {type_text(f['type'])}" for f in kind["fields"]) + ">"
    if kind["type"] == "array":
        return f"array<{type_text(kind['elementType'])}>"
    return f"map<{type_text(kind.get('keyType'))}, {type_text(kind.get('valueType'))}>"
