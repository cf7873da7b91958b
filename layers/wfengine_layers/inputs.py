"""Open the tables that a layer reads, or say which ones there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext
from wfengine.runs import TableFact
from wfengine.spark.warehouse import DEFAULT_SCHEMA
from wfengine_layers.sentences import did_you_mean, listed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Input(NamedTuple):
    """A table at one version: every read of ``frame`` sees the same rows, whatever is written meanwhile."""

    frame: DataFrame
    fact: TableFact


def is_path(text: str) -> bool:
    """Tell a path from a table name: it has a slash."""
    return "/" in text


def located(context: TaskContext[Any], text: str) -> str:
    """Return a table name as it is, a path resolved against the job file's folder and confined to the project."""
    return str(context.path(text)) if is_path(text) else text


def opened(context: TaskContext[Any], field: str, text: str) -> Input:
    """Open a Delta table by name or path, or a parquet file or folder by path.

    Raises TaskFailed, naming ``field`` and what exists, when there is no such table.
    """
    table = located(context, text)
    path = context.tables.path(table)
    if (path / "_delta_log").is_dir():
        version = context.tables.version(table)
        frame = context.spark.read.format("delta").option("versionAsOf", version).load(str(path))
        return Input(frame, _fact(text, path, version))
    if is_path(text) and _holds_parquet(path):
        return Input(context.spark.read.parquet(str(path)), _fact(text, path, None))
    raise TaskFailed(f"{field}: {_missing(context, text, path)}")


def table_names(warehouse: Path) -> list[str]:
    """Name the Delta tables of the warehouse as job files name them."""
    logs = [log for level in ("*/*", "*/*/*") for log in warehouse.glob(f"{level}/_delta_log")]
    names = [".".join(log.parent.relative_to(warehouse).parts) for log in logs]
    return sorted(name.removeprefix(f"{DEFAULT_SCHEMA}.") for name in names)


def _fact(text: str, path: Path, version: int | None) -> TableFact:
    return TableFact(table=text, role="input", path=str(path), version_before=version, version_after=version)


def _holds_parquet(path: Path) -> bool:
    return (path.is_file() and path.suffix == ".parquet") or any(path.glob("*.parquet"))


def _missing(context: TaskContext[Any], text: str, path: Path) -> str:
    if is_path(text):
        return f"{path} " + ("holds neither a Delta table nor parquet files" if path.exists() else "does not exist")
    known = table_names(context.warehouse)
    there_are = f"; there are {listed(known)}" if known else "; it holds no table yet"
    return f"table {text} does not exist in {context.warehouse}{did_you_mean(text, known) or there_are}"
