"""One pass of a silver task over its input: everything is computed and judged before anything is written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wfengine.errors import TaskFailed
from wfengine_layers import sqltext
from wfengine_layers.sentences import analysed, conditions, did_you_mean, listed, speaking
from wfengine_layers.silver_config import SilverConfig, allowed
from wfengine_layers.silver_plan import SilverPlan, plan

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Types of which no minimum can be taken.
_NOT_ORDERED = ("array", "map", "struct", "binary", "variant")


class Work(NamedTuple):
    """What is to be written, and the numbers that are known by then."""

    rows: DataFrame
    #: None when no row is kept apart.
    rejects: DataFrame | None
    #: Columns that identify a row; empty when all rows are kept.
    keys: list[str]
    read: int
    quarantined: int
    dropped: int
    #: Rows that broke each cast and each rule, by name.
    broken: dict[str, float]
    warnings: tuple[str, ...]


def prepare(config: SilverConfig, source: DataFrame, scratch: Path) -> Work:
    """Compute the rows of the table and of the quarantine, and count; only ``scratch`` is written.

    Raises TaskFailed when an expression is wrong, a ``fail`` rule is broken or more than ``max_rejected`` rows are.
    """
    work = plan(config, source.columns)
    if config.columns:
        analysed(source, {f"columns.{name}": value for name, value in zip(work.names, work.values(), strict=True)})
    values = source.selectExpr(*work.typed())
    conditions(values, {f"valid[{index}].where": rule.where for index, rule in enumerate(config.valid)})
    flagged = values.selectExpr(*work.flags()).selectExpr(*work.verdicts()) if work.can_fault else values
    rows = _derived(config, _unique(work, flagged.where("`__kept`") if work.can_fault else flagged))
    with speaking(f"input {config.input} cannot be read and checked"):
        read = source.count()
        faulty = set_aside(flagged.where("`__faulty`"), scratch) if work.can_fault else None
        counts = faulty.selectExpr(*work.counts()).collect()[0].asDict() if faulty is not None else {}
    _judge(config, work, counts, read)
    quarantined = counts.get("quarantined", 0)
    return Work(
        rows=rows,
        rejects=faulty.where(work.quarantined()).selectExpr(*work.quarantine())
        if faulty is not None and quarantined
        else None,
        keys=work.keys,
        read=read,
        quarantined=quarantined,
        dropped=counts.get("dropped", 0),
        broken=work.broken(counts) if counts else {},
        warnings=_warnings(work, counts) if counts else (),
    )


def set_aside(rows: DataFrame, scratch: Path) -> DataFrame | None:
    """Write rows into the scratch folder, so that they are computed once however often they are read; None for none."""
    folder = Path(tempfile.mkdtemp(prefix="aside-", dir=scratch))
    rows.write.mode("overwrite").parquet(str(folder))
    return rows.sparkSession.read.parquet(str(folder)) if any(folder.glob("*.parquet")) else None


def _judge(config: SilverConfig, work: SilverPlan, counts: dict[str, int], read: int) -> None:
    """Fail on a broken ``fail`` rule and on too many rejected rows; no table has been touched yet."""
    if not counts:
        return
    for index, rule in enumerate(work.rules):
        broken = counts[f"__rule_{index}"]
        if rule.on_fail == "fail" and broken:
            raise TaskFailed(
                f"valid[{index}]: {broken:,} of {read:,} rows do not fulfil {rule.name} ({rule.where}); "
                "no table was touched"
            )
    rejected = counts["quarantined"] + counts["dropped"]
    most = allowed(config.max_rejected, read)
    if most is not None and rejected > most:
        why = ", ".join(f"{name} {rows:,.0f}" for name, rows in work.broken(counts).items())
        raise TaskFailed(
            f"max_rejected: {rejected:,} of {read:,} rows are rejected, {most:,} are allowed "
            f"({config.max_rejected}); no table was touched; rows by reason: {why}"
        )


def _unique(work: SilverPlan, rows: DataFrame) -> DataFrame:
    """Keep one row of each key, in the table's columns."""
    columns = [sqltext.name(name) for name in work.names]
    same = work.deduplicate
    if same is None:
        return rows.selectExpr(*columns)
    for key in work.keys:
        if key not in work.names:
            hint = did_you_mean(key, work.names)
            raise TaskFailed(f"deduplicate.keys: there is no column {key}{hint}; the columns are {listed(work.names)}")
    if work.compares_whole_rows:
        # A tenth of the time of a numbering, and exact because rows of one key are equal in every column.
        return rows.selectExpr(*columns).distinct()
    analysed(
        rows,
        {
            f"deduplicate.order_by[{i}]": f"row_number() OVER (ORDER BY {order})"
            for i, order in enumerate(same.order_by)
        },
    )
    return _first_of_key(work, rows, columns)


def _first_of_key(work: SilverPlan, rows: DataFrame, columns: list[str]) -> DataFrame:
    """Keep the first row of each key.

    Numbering all rows is slow on the default engine, and few keys repeat in most inputs. So rows are grouped first: a
    group of one comes out of its minima as the row it is, and only the rows of the other keys are numbered.
    """
    rest = [name for name in work.names if name not in work.keys]
    types = dict(rows.select(*map(sqltext.name, rest)).dtypes) if rest else {}
    if any(text.startswith(_NOT_ORDERED) for text in types.values()):
        return _numbered(work, rows, columns)
    minima = [f"min({sqltext.name(name)}) AS {sqltext.name(name)}" for name in rest]
    keys = [sqltext.name(key) for key in work.keys]
    grouped = rows.groupBy(*keys).agg(*map(_expression, [*minima, "count(*) AS `__rows`"]))
    repeated = grouped.where("`__rows` > 1").selectExpr(*(f"{key} AS `__key_{i}`" for i, key in enumerate(keys)))
    same = " AND ".join(f"{key} <=> `__key_{i}`" for i, key in enumerate(keys))
    among = rows.join(repeated, _expression(same), "left_semi")
    return grouped.where("`__rows` = 1").selectExpr(*columns).unionAll(_numbered(work, among, columns))


def _numbered(work: SilverPlan, rows: DataFrame, columns: list[str]) -> DataFrame:
    return rows.selectExpr("*", work.nth_of_key()).where("`__nth` = 1").selectExpr(*columns)


def _expression(text: str) -> Column:
    from pyspark.sql import functions

    return functions.expr(text)


def _derived(config: SilverConfig, rows: DataFrame) -> DataFrame:
    """Add the derived columns in their order; one that is named like a column replaces it."""
    for name, expression in config.derive.items():
        analysed(rows, {f"derive.{name}": f"({expression})"})
        others = [column for column in rows.columns if column != name]
        rows = rows.selectExpr(*map(sqltext.name, others), sqltext.aliased(expression, name))
    return rows


def _warnings(work: SilverPlan, counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(
        f"{counts[f'__rule_{index}']:,} rows do not fulfil {rule.name} ({rule.where}) and were kept"
        for index, rule in enumerate(work.rules)
        if rule.on_fail == "warn" and counts[f"__rule_{index}"]
    )
