"""When a job is due without a clock expression (docs/triggers.md).

`parse` turns the mappings of a job into one of four triggers. `FileArrival` and `TableUpdate` look at the world;
`Interval` gives ticks like those of a schedule; `Continuous` follows the job's own runs.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from wfengine.arrivals.clockwork import Continuous, Interval
from wfengine.arrivals.files import FileArrival, local_folder
from wfengine.arrivals.look import Arrival, Look
from wfengine.arrivals.tables import TableUpdate
from wfengine.errors import ScheduleError, TaskFailed, shown
from wfengine.jobs import Job
from wfengine.spark.warehouse import table_path

__all__ = ["Arrival", "Continuous", "FileArrival", "Interval", "Look", "TableUpdate", "Trigger", "parse"]

Trigger = Interval | FileArrival | TableUpdate | Continuous


def parse(job: Job, *, root: Path, warehouse: Path) -> Trigger | None:
    """Return what starts a job beside a schedule; None when nothing does.

    ``root`` is the project, in which a watched folder must lie; ``warehouse`` holds the tables. Raises ScheduleError
    for a folder or a table that cannot be watched.
    """
    pause = {"pause_status": job.trigger.get("pause_status", "UNPAUSED")}
    if given := job.trigger.get("periodic"):
        return msgspec.convert({**given, **pause}, Interval)
    if given := job.trigger.get("file_arrival"):
        folder = local_folder(given["url"], Path(job.path).parent)
        if not folder.is_relative_to(root.resolve()):
            message = f"lies outside the project {root}"
            hint = "choose another project with --root"
            raise ScheduleError("trigger.file_arrival.url", message, hint, value=shown(given["url"]))
        return msgspec.convert({**given, **pause, "folder": folder}, FileArrival)
    if given := job.trigger.get("table_update"):
        tables = {name: _table(warehouse, name, index) for index, name in enumerate(given["table_names"])}
        return msgspec.convert({**given, **pause, "tables": tables}, TableUpdate)
    return msgspec.convert(job.continuous, Continuous) if job.continuous else None


def _table(warehouse: Path, name: str, index: int) -> Path:
    try:
        return table_path(warehouse, name)
    except TaskFailed as error:
        raise ScheduleError(f"trigger.table_update.table_names[{index}]", str(error)) from error
