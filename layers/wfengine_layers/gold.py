"""The gold layer: one query, or a grouping, over one or more tables into a table for its readers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from wfengine.errors import TaskFailed
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine.runs import Facts
from wfengine_layers import inputs, sqltext
from wfengine_layers.sentences import analysed, conditions, did_you_mean, listed, mistake, sentence, speaking

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class GoldConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fields of `gold_task`."""

    #: Table to read, or a mapping of alias to table. A single table's alias is the last part of its name.
    input: str | dict[str, str]
    #: Table to write.
    table: str
    #: SQL query over the aliases; instead of `group_by` and `measures`.
    query: str = ""
    #: Columns to group by, each a column or `expression AS name`; empty for one row over everything.
    group_by: list[str] = []
    #: Columns of the result, each by an aggregate expression.
    measures: dict[str, str] = {}
    #: SQL condition for the rows that are grouped.
    where: str = ""
    #: `overwrite` replaces the table, `merge` updates and inserts by `keys`.
    mode: Literal["overwrite", "merge"] = "overwrite"
    #: Columns that identify a row of the result, for `merge`.
    keys: list[str] = []
    #: Columns whose values become folders of the table.
    partition_by: list[str] = []

    @property
    def aliases(self) -> dict[str, str]:
        """The tables to read by alias."""
        if isinstance(self.input, dict):
            return self.input
        last = self.input.removesuffix("/").removesuffix(".parquet").replace("/", ".").rsplit(".", 1)[-1]
        return {re.sub(r"\W", "_", last.strip("`")): self.input}


class Gold(Layer[GoldConfig]):
    """Aggregate tables into one that answers a question."""

    name = "gold"
    Config = GoldConfig
    needs_spark = True

    @classmethod
    def check(cls, config: GoldConfig, folder: Path) -> list[tuple[str, str]]:
        """Find a task with neither or both ways of asking, a grouping of several tables, and a merge without keys."""
        faults = []
        if bool(config.query.strip()) == bool(config.measures):
            faults.append(("query", "give either query or measures (with group_by)"))
        if config.query and (config.group_by or config.where):
            faults.append(("query", "group_by and where go with measures; write them into the query"))
        if not config.aliases:
            faults.append(("input", "name at least one table"))
        faults += [
            (f"input.{alias}", f"{alias!r} is not an alias; use letters, digits and _")
            for alias in config.aliases
            if not re.fullmatch(r"[A-Za-z_]\w*", alias)
        ]
        if config.measures and len(config.aliases) > 1:
            faults.append(("input", "measures are taken from one table; use a query to join several"))
        faults += [
            (f"group_by[{index}]", f"{item!r} needs a name; write '{item} AS name'")
            for index, item in enumerate(config.group_by)
            if not grouped(item)[1]
        ]
        if config.mode == "merge" and not config.keys:
            faults.append(("keys", "mode: merge needs the columns that identify a row"))
        if config.mode == "overwrite" and config.keys:
            faults.append(("keys", "keys have no effect with mode: overwrite"))
        return faults

    def run(self, context: TaskContext[GoldConfig]) -> TaskResult:
        """Compute the result and write it in one commit."""
        config = context.config
        sources = {
            alias: inputs.opened(context, _field(config, alias), table) for alias, table in config.aliases.items()
        }
        rows = _query(context, sources) if config.query else _grouping(config, next(iter(sources.values())).frame)
        _check_columns(config, rows.columns)
        table = inputs.located(context, config.table)
        with speaking(f"table {config.table} cannot be made"):
            if config.mode == "merge":
                output = context.tables.merge(table, rows, config.keys, evolve=True)
            else:
                output = context.tables.overwrite(table, rows, partition_by=config.partition_by)
            total = context.tables.read(table).count()
            read = {alias: source.frame.count() for alias, source in sources.items()}
        facts = Facts(
            rows_read=sum(read.values()),
            rows_written=output.rows if output.rows is not None else total,
            tables=(*(msgspec.structs.replace(s.fact, rows=read[alias]) for alias, s in sources.items()), output),
        )
        return TaskResult(
            output={"table": config.table, "rows": total},
            facts=facts,
            message=f"{facts.rows_written:,} rows written from {facts.rows_read:,}; the table has {total:,}",
        )


def _field(config: GoldConfig, alias: str) -> str:
    return f"input.{alias}" if isinstance(config.input, dict) else "input"


def _query(context: TaskContext[GoldConfig], sources: dict[str, inputs.Input]) -> DataFrame:
    """Run the query over temporary views named by the aliases. Raises TaskFailed when the engine refuses it."""
    for alias, source in sources.items():
        source.frame.createOrReplaceTempView(alias)
    try:
        rows = context.spark.sql(context.config.query)
        _ = rows.schema
    except Exception as error:
        if not mistake(error):
            raise
        columns = [column for source in sources.values() for column in source.frame.columns]
        raise TaskFailed(f"query: {_unknown_table(error, list(sources)) or sentence(error, columns)}") from error
    return rows


def _unknown_table(error: Exception, aliases: list[str]) -> str:
    found = re.search(r"TABLE_OR_VIEW_NOT_FOUND\].*?(?:not found: |table or view )`?([\w.`]+)", str(error))
    if not found:
        return ""
    table = found[1].strip("`.")
    return f"there is no table {table}{did_you_mean(table, aliases)}; the aliases are {listed(aliases)}"


def _grouping(config: GoldConfig, frame: DataFrame) -> DataFrame:
    """Filter, group and measure. Raises TaskFailed naming the field whose expression is wrong."""
    from pyspark.sql import functions

    if config.where:
        conditions(frame, {"where": config.where})
        frame = frame.where(config.where)
    groups = [grouped(item) for item in config.group_by]
    analysed(frame, {f"group_by[{index}]": text for index, (text, _) in enumerate(groups)})
    measures = {f"measures.{name}": sqltext.aliased(text, name) for name, text in config.measures.items()}
    keys = [functions.expr(f"({text})").alias(f"__group_{index}") for index, (text, _) in enumerate(groups)]
    for field, text in measures.items():
        analysed(frame, {field: text})
        with speaking(f"{field} is not an aggregate such as sum(x)"):
            _ = frame.groupBy(*keys).agg(functions.expr(text)).schema
    result = frame.groupBy(*keys).agg(*map(functions.expr, measures.values()))
    named = [f"`__group_{index}` AS {sqltext.name(name)}" for index, (_, name) in enumerate(groups)]
    return result.selectExpr(*named, *map(sqltext.name, config.measures))


def grouped(item: str) -> tuple[str, str]:
    """Split ``expression AS name`` of ``group_by``; a bare column is named as it is.

    The name is empty when there is none.
    """
    found = re.fullmatch(r"(?s)(.*\S)\s+as\s+(`(?:[^`]|``)+`|\w+)\s*", item, re.IGNORECASE)
    if found:
        return found[1], found[2].strip("`").replace("``", "`")
    plain = item.strip()
    if re.fullmatch(r"\w+|`(?:[^`]|``)+`", plain):
        return (plain if plain.startswith("`") else sqltext.name(plain)), plain.strip("`").replace("``", "`")
    return plain, ""


def _check_columns(config: GoldConfig, columns: list[str]) -> None:
    """Refuse keys and partitions that the result does not have, and columns of one name."""
    for field, names in (("keys", config.keys), ("partition_by", config.partition_by)):
        for name in names:
            if name not in columns:
                raise TaskFailed(
                    f"{field}: the result has no column {name}{did_you_mean(name, columns)}; "
                    f"its columns are {listed(columns)}"
                )
    if len({name.lower() for name in columns}) < len(columns):
        raise TaskFailed(f"the result has columns of one name: {listed(columns)}; name them apart with AS")
