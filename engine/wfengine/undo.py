"""What comes after an attempt that went wrong, in a process of its own: its tables told of, and undone if so asked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from wfengine import log
from wfengine.errors import TaskFailed
from wfengine.executor import Launch, Report
from wfengine.runs import Facts
from wfengine.spark import stamp, touched
from wfengine.states import Result
from wfengine.worker import AttemptSpec, open_session, with_tables

#: Told when the process that was to undo an attempt came to no end.
UNFINISHED = "not undone yet: the next attempt of the task does it before it begins"


def launch(of: Launch | None, result: Result, report: Report, *, restore: bool) -> Launch | None:
    """Return what follows an attempt that came out as ``result``; None when nothing has to.

    An attempt that wrote and failed is undone with ``restore``; one that left no record has its tables told of. It has
    the attempt's own id, so start it only when the attempt's processes are gone.
    """
    if of is None or result is Result.SUCCESS or not (restore or report.record is None):
        return None
    if not touched.pending(Path(str(of.payload.get("folder")))):
        return None
    payload = {"spec": of.payload, "restore": restore}
    return msgspec.structs.replace(of, entry="wfengine.undo:main", payload=payload, log=of.log.with_name("undo.log"))


def told(record: Mapping[str, Any], report: Report, *, restore: bool) -> dict[str, Any]:
    """Add to an attempt's record what the process that followed it found and did."""
    found = (report.record or {}).get("facts")
    if found is None:
        found = {"undo": UNFINISHED} if restore else {}
    facts = record.get("facts") or {key: value for key, value in found.items() if key != "undo"}
    return {**record, "facts": {**facts, **({"undo": found["undo"]} if found.get("undo") else {})}}


def main(payload: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return a record whose facts tell what the attempt read and wrote and, with ``restore``, what became of it."""
    spec = msgspec.convert(payload["spec"], AttemptSpec)
    log.configure("console")
    # Before anything is undone, for it is what the attempt did.
    facts = with_tables(Facts(), spec)
    if payload["restore"]:
        from wfengine.spark import restore

        text = restore.undo(
            Path(spec.folder),
            stamp.text(spec.identity),
            Path(spec.warehouse).resolve(),
            lambda session: _stop(spec, session),
        )
        facts = msgspec.structs.replace(facts, undo=text)
    built: dict[str, Any] = msgspec.to_builtins({"status": "success", "facts": facts})
    return built


def _stop(spec: AttemptSpec, session: str) -> None:
    """Stop what the engine still does for a session of the attempt; an engine that is gone does nothing more."""
    from wfengine.spark import fence
    from wfengine.spark.session import close

    with contextlib.suppress(TaskFailed):
        spark = open_session(spec)
        fence.interrupt(spark, session)
        close(spark)
