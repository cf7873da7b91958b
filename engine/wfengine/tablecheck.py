"""Whether tables hold what their ledgers say: every confirmed batch once and whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from wfengine.audit import Break
from wfengine.errors import WfengineError
from wfengine.spark import deltalog, warehouse
from wfengine.spark.ledger import Batch, Ledger

_BATCH = "_batch_id"


def ledgers(folder: Path) -> Iterator[Path]:
    """Yield the tables below ``folder`` that have a ledger."""
    for place, names, _ in os.walk(folder):
        path = Path(place)
        if (path / warehouse.PRIVATE / "ledger.jsonl").exists():
            yield path
        if warehouse.PRIVATE in names or "_delta_log" in names:
            names.clear()
        names.sort()


def countable() -> bool:
    """Whether the rows of tables can be counted here."""
    return all(find_spec(name) is not None for name in ("pyarrow", "deltalake"))


def of_table(path: Path, name: str) -> Iterator[Break]:
    """Compare one table with its ledger."""
    subject = f"table {name}"
    try:
        batches = Ledger(path / warehouse.PRIVATE / "ledger.jsonl").batches()
        confirmed = [each for each in batches.values() if each.done and not each.result.get("superseded")]
        wanted = [each for each in confirmed if isinstance(each.result.get("rows"), int)]
        if not wanted:
            return
        there = _counts(path)
        whole = not _shrunk(path)
    except WfengineError as error:
        yield Break(rule="tables", subject=subject, message=str(error))
        return
    if there is None:
        return
    for batch in wanted:
        if message := _compare(batch, there.get(batch.batch_id, 0), whole):
            yield Break(rule="tables", subject=subject, message=message)


def _compare(batch: Batch, rows: int, whole: bool) -> str:
    expected = batch.result["rows"]
    if rows > expected or (rows < expected and whole):
        return f"batch {batch.batch_id} ({batch.key}) was confirmed with {expected} rows, and the table has {rows}"
    return ""


def _counts(path: Path) -> dict[str, int] | None:
    """Count the rows of each batch; None when rows of the table do not say to which batch they belong."""
    import deltalake
    import pyarrow.compute

    if not warehouse.exists(path):
        return {}
    try:
        table = deltalake.DeltaTable(str(path))
        data = table.to_pyarrow_dataset()
        if _BATCH not in data.schema.names:
            return None
        counted = pyarrow.compute.value_counts(data.to_table(columns=[_BATCH]).column(_BATCH))
    except (deltalake.exceptions.DeltaError, OSError, ValueError) as error:
        raise WfengineError(f"it cannot be read: {error}") from error
    return {str(each["values"]): int(each["counts"]) for each in counted.to_pylist()}


def _shrunk(path: Path) -> bool:
    """Whether rows may have been removed on purpose: some commit took files with data away."""
    return any(
        action["remove"].get("dataChange", True)
        for number in range(warehouse.version(path) + 1)
        for action in deltalog.commit(path, number)
        if "remove" in action
    )
