"""What is checked before the default engine writes a Delta table: it drops, cuts or overwrites in silence otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql.connect.proto import commands_pb2 as commands
from pyspark.sql.connect.proto import relations_pb2 as relations

from wfengine.errors import TaskFailed
from wfengine.spark import deltalog, plans, schemas
from wfengine.spark.deltalog import Snapshot
from wfengine.spark.plans import Server
from wfengine.spark.refusal import Refused

_MODES = commands.WriteOperation
_INSERT_INTO = commands.WriteOperation.SaveTable.TABLE_SAVE_METHOD_INSERT_INTO
#: More partitions than this are not overwritten by name; the predicate would be too long.
_MAX_PARTITIONS = 1000


class Write:
    """One write to a Delta table, of whatever statement: how it is checked and completed before it leaves."""

    def __init__(
        self, path: Path, name: str, options: Any, server: Server, conf: dict[str, str], stamp: str = ""
    ) -> None:
        self.path = path
        self.stamp = stamp
        self.name = name
        self.options = options
        self.known = deltalog.snapshot(path)
        self._server = server
        self._conf = conf

    def option(self, name: str) -> str:
        """Return an option whatever its case; empty when it is not set."""
        return next((str(value) for key, value in self.options.items() if key.lower() == name.lower()), "")

    def flag(self, name: str) -> bool:
        """Say whether an option is ``true``."""
        return self.option(name).lower() == "true"

    def drop_option(self, name: str) -> None:
        """Remove an option whatever its case."""
        for key in [key for key in self.options if key.lower() == name.lower()]:
            del self.options[key]

    @property
    def dynamic(self) -> bool:
        """Whether only the partitions of the rows given are to be overwritten."""
        mode = self.option("partitionOverwriteMode") or self._conf.get("spark.sql.sources.partitionoverwritemode", "")
        return mode.lower() == "dynamic"

    @property
    def evolve(self) -> bool:
        """Whether new columns may be added to the table."""
        return self.flag("mergeSchema") or self._conf.get("spark.databricks.delta.schema.automerge.enabled") == "true"

    def check_columns(self, rows: relations.Relation, *, by_position: bool = False, lossless: bool = False) -> None:
        """Compare the rows with the table. Raises Refused with Delta's sentence."""
        if self.known is None:
            return
        schema = self._server.schema(rows)
        if by_position:
            schema = _placed(schema, self.known, self.name)
        try:
            schemas.reconcile(
                self.path, self.known, schema, evolve=self.evolve, lossless=lossless, stamp=self.stamp, what=self.name
            )
        except TaskFailed as error:
            raise Refused(str(error)) from None

    def check_replaced(self, rows: relations.Relation, predicate: str) -> None:
        """Refuse rows outside the part that they replace, as Delta does; computes the rows once more."""
        if self.known is None:
            raise Refused(f"[DELTA_TABLE_NOT_FOUND] replaceWhere needs a table; {self.name} does not exist")
        outside = self._server.rows(plans.filtered(rows, f"NOT coalesce(({predicate}), false)", 1))
        if outside:
            raise Refused(
                "[DELTA_REPLACE_WHERE_MISMATCH] Written data does not conform to partial table overwrite condition"
                f" '{predicate}': {outside[0]}"
            )

    def partitions_of(self, rows: relations.Relation, known: Snapshot) -> str:
        """Return the predicate for the partitions that the rows are in; computes the rows once more."""
        columns = list(known.partition_columns)
        texts = [(name, f"CAST({plans.quote(name)} AS STRING)") for name in columns]
        found = self._server.rows(plans.distinct(plans.projected(rows, texts), columns, _MAX_PARTITIONS + 1))
        if len(found) > _MAX_PARTITIONS:
            raise Refused(
                f"the rows for {self.name} are in more than {_MAX_PARTITIONS} partitions; write them in parts"
            )
        types = {field["name"]: schemas.type_text(field["type"]) for field in known.schema["fields"]}
        return " OR ".join("(" + " AND ".join(_equals(n, row[n], types[n]) for n in columns) + ")" for row in found)

    def loosened(self, rows: relations.Relation) -> relations.Relation:
        """Return rows for a new table in which every column may be null; Delta makes them so, the engine does not."""
        fields = self._server.schema(rows)["fields"]
        names = [field["name"] for field in fields]
        folded = [name.lower() for name in names]
        twice = sorted({name for name in names if folded.count(name.lower()) > 1})
        if twice:
            raise Refused(
                f"[DELTA_DUPLICATE_COLUMNS_FOUND] Found duplicate column(s) in the data to save to {self.name}:"
                f" {', '.join(twice)}"
            )
        if all(field["nullable"] for field in fields):
            return rows
        # A condition that the optimizer cannot decide: it would see through anything simpler.
        maybe = "CASE WHEN rand() >= 0 THEN {} END"
        quoted = [(name, plans.quote(name)) for name in names]
        return plans.projected(
            rows, [(n, q if f["nullable"] else maybe.format(q)) for (n, q), f in zip(quoted, fields, strict=True)]
        )


def _placed(schema: dict[str, Any], known: Snapshot, table: str) -> dict[str, Any]:
    """Name the columns of a schema after the table's columns at the same place."""
    names = [field["name"] for field in known.schema["fields"]]
    if len(names) != len(schema["fields"]):
        raise Refused(
            f"[INSERT_COLUMN_ARITY_MISMATCH] Cannot write to {table}: it has {len(names)} columns"
            f" ({', '.join(names)}), the rows have {len(schema['fields'])}"
        )
    renamed = [{**field, "name": name} for field, name in zip(schema["fields"], names, strict=True)]
    return {**schema, "fields": renamed}


def _equals(column: str, value: str | None, kind: str) -> str:
    if value is None:
        return f"{plans.quote(column)} IS NULL"
    text = value.replace("\\", "\\\\").replace("'", "\\'")
    kind = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}.get(kind, kind)
    return f"{plans.quote(column)} <=> CAST('{text}' AS {kind})"


def prepare(operation: Any, write: Write, warn: Callable[[str, str], None]) -> None:
    """Check and complete a ``WriteOperation`` on a Delta table. Raises Refused."""
    complete_options(write, warn)
    mode = operation.mode
    if write.known is None:
        if write.option("replaceWhere"):
            write.check_replaced(operation.input, write.option("replaceWhere"))
        operation.input.CopyFrom(write.loosened(operation.input))
        write.drop_option("partitionOverwriteMode")
        return
    if mode == _MODES.SAVE_MODE_OVERWRITE:
        _overwrite(operation, write, write.known)
    elif mode == _MODES.SAVE_MODE_APPEND or _inserts(operation):
        _check(operation, write)


def _check(operation: Any, write: Write) -> None:
    by_path = operation.WhichOneof("save_type") == "path"
    write.check_columns(operation.input, by_position=_inserts(operation), lossless=by_path)


def _overwrite(operation: Any, write: Write, known: Snapshot) -> None:
    if write.flag("overwriteSchema") and not write.option("replaceWhere"):
        operation.input.CopyFrom(write.loosened(operation.input))
        return
    _check(operation, write)
    predicate = write.option("replaceWhere")
    dynamic = write.dynamic and known.partition_columns
    write.drop_option("partitionOverwriteMode")
    if predicate or dynamic:
        _go_by_path(operation, write.path, known)
        if predicate:
            write.check_replaced(operation.input, predicate)
        else:
            predicate = write.partitions_of(operation.input, known) or "false"
        write.drop_option("replaceWhere")
        # Without IS TRUE the engine also deletes the rows for which the predicate is null; without the bare
        # predicate it reads and rewrites every file.
        write.options["replaceWhere"] = f"({predicate}) AND (({predicate}) IS TRUE)"


def _go_by_path(operation: Any, path: Path, known: Snapshot) -> None:
    """Address the table by its folder; through its name the engine ignores replaceWhere and wipes the table."""
    if _inserts(operation):
        named = relations.Relation()
        named.to_df.input.CopyFrom(operation.input)
        named.to_df.column_names.extend(field["name"] for field in known.schema["fields"])
        operation.input.CopyFrom(named)
    operation.source = "delta"
    operation.path = str(path)


def _inserts(operation: Any) -> bool:
    """Say whether columns go by position."""
    return bool(operation.WhichOneof("save_type") == "table" and operation.table.save_method == _INSERT_INTO)


def complete_options(write: Write, warn: Callable[[str, str], None]) -> None:
    """Stamp the commit with run, task and attempt, and say which options do nothing."""
    if not write.option("userMetadata"):
        write.options["userMetadata"] = write.stamp
    if write.option("txnAppId") or write.option("txnVersion"):
        warn(
            "txnAppId",
            "this engine ignores txnAppId and txnVersion, a repeated write is written twice; use context.tables.append",
        )
