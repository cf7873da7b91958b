"""A Delta table's log, read without any engine: schema, partitions, features, what a commit did."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from wfengine.spark.warehouse import version

_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\..+)?\.parquet")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the log says about a table at one version."""

    version: int
    #: The schema as Spark and Delta write it: ``{"type": "struct", "fields": [...]}``.
    schema: dict[str, Any]
    partition_columns: tuple[str, ...] = ()
    #: Table properties.
    configuration: dict[str, str] = {}
    #: Reader and writer features named by the protocol.
    features: frozenset[str] = frozenset()

    @property
    def column_mapping(self) -> bool:
        """Whether columns have other names in the files than in the schema."""
        return self.configuration.get("delta.columnMapping.mode", "none") != "none"


def snapshot(path: Path, at: int | None = None) -> Snapshot | None:
    """Return what the log says now, or of version ``at``; None when ``path`` holds no table.

    Walks back from that commit to the last one that set schema and protocol, at most to the last checkpoint.
    """
    newest = version(path) if at is None else at
    found: dict[str, dict[str, Any]] = {}
    for action in _backwards(path / "_delta_log", newest):
        for name in ("metaData", "protocol"):
            if action.get(name):
                found.setdefault(name, action[name])
        if len(found) == 2:
            break
    if "metaData" not in found:
        return None
    metadata, protocol = found["metaData"], found.get("protocol", {})
    return Snapshot(
        version=newest,
        schema=msgspec.json.decode(metadata["schemaString"]),
        partition_columns=tuple(metadata.get("partitionColumns") or ()),
        configuration=dict(metadata.get("configuration") or {}),
        features=frozenset([*(protocol.get("readerFeatures") or ()), *(protocol.get("writerFeatures") or ())]),
    )


def commit(path: Path, number: int) -> list[dict[str, Any]]:
    """Return the actions of one commit; empty when its file is gone."""
    return list(_actions(path / "_delta_log" / f"{number:020d}.json"))


def rows_written(path: Path, before: int, after: int) -> int | None:
    """Return how many rows the commits after ``before`` up to ``after`` wrote; None when they do not say.

    A MERGE counts rows inserted and updated, not those copied along with their file.
    """
    total = 0
    for number in range(before + 1, after + 1):
        rows = rows_of(commit(path, number))
        if rows is None:
            return None
        total += rows
    return total


def info(actions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a commit says about itself; empty when it says nothing."""
    return next((action["commitInfo"] for action in actions if "commitInfo" in action), {})


def rows_of(actions: list[dict[str, Any]]) -> int | None:
    """Return how many rows one commit wrote, None when it does not say; those copied or deleted do not count."""
    return _rows(info(actions).get("operationMetrics") or {}, [a["add"] for a in actions if "add" in a])


def bytes_of(actions: list[dict[str, Any]]) -> int:
    """Return the bytes of the files that one commit added."""
    return sum(int(action["add"].get("size") or 0) for action in actions if "add" in action)


def _rows(metrics: dict[str, Any], added: list[dict[str, Any]]) -> int | None:
    if "numTargetRowsInserted" in metrics:
        return int(metrics["numTargetRowsInserted"]) + int(metrics.get("numTargetRowsUpdated", 0))
    if "numUpdatedRows" in metrics:
        return int(metrics["numUpdatedRows"])
    if "numDeletedRows" in metrics:
        return 0
    if "numOutputRows" in metrics:
        return int(metrics["numOutputRows"])
    return sum_records(added)


def sum_records(added: list[dict[str, Any]]) -> int | None:
    """Add up the row counts in the statistics of files; None when one of them has none or has deleted rows."""
    total = 0
    for add in added:
        stats = msgspec.json.decode(add["stats"]) if add.get("stats") else {}
        if "numRecords" not in stats or add.get("deletionVectors") or add.get("deletionVector"):
            return None
        total += int(stats["numRecords"])
    return total


def row_count(path: Path) -> int | None:
    """Return the rows of the table as the statistics tell them; None when they do not, or there is no table."""
    if (newest := version(path)) < 0:
        return None
    files: dict[str, dict[str, Any]] = {}
    gone: set[str] = set()
    for action in _backwards(path / "_delta_log", newest):
        if (remove := action.get("remove")) and remove["path"] not in files:
            gone.add(remove["path"])
        elif (add := action.get("add")) and add["path"] not in gone:
            files.setdefault(add["path"], add)
    return sum_records(list(files.values()))


def _backwards(log: Path, newest: int) -> Iterator[dict[str, Any]]:
    """Yield every action from the newest to the oldest commit; a checkpoint stands for all before it.

    Within one commit additions come first, because a file that one commit both adds and removes is there.
    """
    checkpoints: dict[int, list[Path]] = {}
    for name in os.listdir(log) if newest >= 0 else ():
        if match := _CHECKPOINT.fullmatch(name):
            checkpoints.setdefault(int(match[1]), []).append(log / name)
    for number in range(newest, -1, -1):
        if number in checkpoints:
            yield from _checkpoint(checkpoints[number])
            return
        yield from sorted(_actions(log / f"{number:020d}.json"), key=lambda action: "remove" in action)


def _actions(file: Path) -> Iterator[dict[str, Any]]:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        if line.strip():
            yield msgspec.json.decode(line)


def _checkpoint(files: list[Path]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as parquet

    for file in files:
        names = set(parquet.read_schema(file).names)
        for row in parquet.read_table(file, columns=sorted(names & {"metaData", "protocol", "add"})).to_pylist():
            for name in ("metaData", "protocol", "add"):
                if row.get(name) and (name != "add" or row[name].get("path")):
                    yield {name: _plain(row[name])}


def _plain(action: dict[str, Any]) -> dict[str, Any]:
    """Turn Parquet maps, which come as lists of pairs, into mappings."""
    if isinstance(action.get("configuration"), list):
        action["configuration"] = dict(action["configuration"])
    return action
