"""The silver layer: rows cast, checked, made unique and enriched, and none lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from wfengine.errors import TaskFailed
from wfengine.failpoints import failpoint
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine.runs import Facts, TableFact
from wfengine_layers import inputs, sqltext
from wfengine_layers.batches import add
from wfengine_layers.sentences import speaking
from wfengine_layers.silver_config import SilverConfig
from wfengine_layers.silver_work import Work, prepare, set_aside

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from wfengine.spark.ledger import Batch
    from wfengine.spark.tables import Tables


class Silver(Layer[SilverConfig]):
    """Cast, check, deduplicate and derive the rows of one table into another."""

    name = "silver"
    Config = SilverConfig
    needs_spark = True

    @classmethod
    def check(cls, config: SilverConfig, folder: Path) -> list[tuple[str, str]]:
        """Find unknown types, rules of one name, a limit that is none, and a merge without keys."""
        return config.faults()

    def run(self, context: TaskContext[SilverConfig]) -> TaskResult:
        """Compute and judge everything, then write the table and its quarantine."""
        config = context.config
        source = inputs.opened(context, "input", config.input)
        with speaking(f"table {config.table} cannot be made"):
            written = _append(context, source) if config.mode == "append" else [_replace(context, source)]
        return _result(config, source.fact, written)


class Written(NamedTuple):
    """What one batch, or the whole input, came to."""

    work: Work
    #: Rows that went into the table, whether or not a merge had to change any.
    rows: int
    facts: list[TableFact]


def _replace(context: TaskContext[SilverConfig], source: inputs.Input) -> Written:
    """Recompute from the whole input and merge or overwrite; doing it twice leaves what doing it once does."""
    config, tables = context.config, context.tables
    table, quarantine = _names(context)
    work = prepare(config, source.frame, context.scratch)
    with tables.lock(table):
        if config.mode == "merge" and tables.exists(table):
            output, rows = _merge(context, table, work)
        else:
            output = tables.overwrite(table, work.rows)
            rows = output.rows if output.rows is not None else tables.read(table).count()
        failpoint("silver.after_data")
        facts = [output]
        # Without rejects an absent quarantine stays absent, and one of an earlier run is emptied.
        rejects = work.rejects
        if rejects is None and tables.exists(quarantine):
            rejects = tables.read(quarantine).where("false")
        if rejects is not None:
            facts.append(structs.replace(tables.overwrite(quarantine, rejects), role="quarantine"))
        failpoint("silver.after_quarantine")
    return Written(work, rows, facts)


def _merge(context: TaskContext[SilverConfig], table: str, work: Work) -> tuple[TableFact, int]:
    """Merge the rows that are new or differ; returns with the fact how many rows there were to merge.

    They are found by a join first: a MERGE over mostly equal rows takes several times as long.
    """
    tables = context.tables
    rows = set_aside(work.rows, context.scratch)
    if rows is None:
        return _untouched(tables, table), 0
    known = tables.read(table)
    changed: DataFrame | None = rows
    if set(known.columns) == set(rows.columns):
        changed = set_aside(_differing(rows, known, work.keys), context.scratch)
    output = tables.merge(table, changed, work.keys, evolve=True) if changed is not None else _untouched(tables, table)
    return output, rows.count()


def _differing(rows: DataFrame, known: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Keep the rows whose key is not in the table, or is there with other values."""
    from pyspark.sql import functions

    same_key = " AND ".join(f"s.{sqltext.name(key)} <=> t.{sqltext.name(key)}" for key in keys)
    others = [sqltext.name(column) for column in rows.columns if column not in keys]
    equal = " AND ".join(["t.`__there`", *(f"s.{column} <=> t.{column}" for column in others)])
    joined = rows.alias("s").join(
        known.selectExpr("*", "true AS `__there`").alias("t"), functions.expr(same_key), "left"
    )
    return joined.where(f"NOT coalesce({equal}, false)").select("s.*")


def _untouched(tables: Tables, table: str) -> TableFact:
    version = tables.version(table)
    path = str(tables.path(table))
    return TableFact(table=table, role="output", path=path, version_before=version, version_after=version, rows=0)


def _append(context: TaskContext[SilverConfig], source: inputs.Input) -> list[Written]:
    """Add the input's batches that are not in the table yet, as one batch of the table."""
    config, tables = context.config, context.tables
    table, _ = _names(context)
    if "_batch_id" not in source.frame.columns:
        raise TaskFailed(
            f"mode: append goes by the batches of a bronze table, and {config.input} has no column _batch_id"
        )
    with tables.lock(table):
        ledger = tables.ledger(table)
        written = [
            _append_batch(context, batch, _prepared(context, source, batch.data["inputs"]), replay=True)
            for batch in ledger.open_plans()
        ]
        known = {text for batch in ledger.batches().values() for text in batch.data["inputs"]}
        ids = {row[0] for row in source.frame.select("_batch_id").distinct().collect()}
        if None in ids:
            raise TaskFailed(f"input: {config.input} has rows without _batch_id, which mode: append cannot tell apart")
        if fresh := sorted(ids - known):
            # Judged before it is planned, so that a refused batch leaves no trace.
            work = _prepared(context, source, fresh)
            batch = ledger.plan(f"input {config.input}", inputs=fresh)
            failpoint("silver.after_plan")
            written.append(_append_batch(context, batch, work, replay=False))
    return written


def _append_batch(context: TaskContext[SilverConfig], batch: Batch, work: Work, *, replay: bool) -> Written:
    """Write one planned batch: rows, rejects, confirmation; a replay leaves what is there of it."""
    tables = context.tables
    table, quarantine = _names(context)
    output = add(tables, table, work.rows, batch.batch_id, replay=replay)
    failpoint("silver.after_data")
    facts = [output]
    if work.rejects is not None:
        rejects = add(tables, quarantine, work.rejects, batch.batch_id, replay=replay)
        facts.append(structs.replace(rejects, role="quarantine"))
    failpoint("silver.after_quarantine")
    rows = output.rows if output.rows is not None else work.rows.count()
    tables.ledger(table).done(batch.batch_id, rows=rows, rejected=work.quarantined)
    failpoint("silver.after_done")
    return Written(work, rows, facts)


def _prepared(context: TaskContext[SilverConfig], source: inputs.Input, ids: Sequence[str]) -> Work:
    """Prepare the rows of some batches of the input."""
    rows = source.frame.where(f"`_batch_id` IN ({', '.join(map(sqltext.literal, ids))})")
    return prepare(context.config, rows, context.scratch)


def _names(context: TaskContext[SilverConfig]) -> tuple[str, str]:
    """Return the table and its quarantine, paths resolved."""
    config = context.config
    quarantine = config.quarantine or f"{config.table}_quarantine"
    return inputs.located(context, config.table), inputs.located(context, quarantine)


def _result(config: SilverConfig, source: TableFact, written: list[Written]) -> TaskResult:
    """Report the counts, which add up: read = written + rejected + duplicates; dropped rows are rejected ones."""
    read = sum(one.work.read for one in written)
    rows = sum(one.rows for one in written)
    rejected = sum(one.work.quarantined + one.work.dropped for one in written)
    broken = sum((Counter(one.work.broken) for one in written), Counter[str]())
    duplicates = read - rows - rejected
    dropped = sum(one.work.dropped for one in written)
    facts = Facts(
        rows_read=read,
        rows_written=rows,
        rows_rejected=rejected,
        rows_duplicate=duplicates,
        tables=(source, *(fact for one in written for fact in one.facts)),
        metrics={**broken, **({"dropped": float(dropped)} if dropped else {})},
        warnings=tuple(warning for one in written for warning in one.work.warnings),
    )
    message = f"{read:,} rows read = {rows:,} written + {rejected:,} rejected + {duplicates:,} duplicates"
    return TaskResult(
        output={"table": config.table, "rows": rows},
        facts=facts,
        message=message if written else f"no new batch in {config.input}",
    )
