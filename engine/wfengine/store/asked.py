"""What people see of loaded jobs, and what they ask from other processes of those who execute runs."""

from __future__ import annotations

import msgspec

from wfengine.errors import UsageError, did_you_mean, shown
from wfengine.runs import JobRow, RecentRun
from wfengine.states import LifeCycle, Result
from wfengine.store.database import Database, Row

#: Runs that a list of jobs shows of each.
RECENT = 5


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Something another process asks of the daemon, or of whoever executes a run."""

    #: ``cancel``, for example.
    kind: str
    run_id: int | None = None
    task_key: str | None = None
    #: Epoch milliseconds.
    asked_at: int


def job_rows(database: Database) -> list[JobRow]:
    """Return the loaded jobs by name."""
    recent: dict[int, list[RecentRun]] = {}
    with database.reading():
        for row in database.rows("recent_runs", count=RECENT):
            recent.setdefault(row["job_id"], []).append(_to_recent(row))
        return [_to_job(row, tuple(recent.get(row["job_id"], ()))) for row in database.rows("job_list")]


def known_job(database: Database, name: str) -> int:
    """Return the id of a job that was loaded or run before; UsageError, naming the likely one, when there is none."""
    row = database.row("job", name=name)
    if row is None:
        hint = did_you_mean(name, [row["name"] for row in database.rows("job_names")]) or "see wfengine jobs"
        raise UsageError(f"there is no job {shown(name)!r} in {database.path.parent} ({hint})")
    return int(row["job_id"])


def take_requests(database: Database, run_id: int | None = None) -> list[Request]:
    """Return the requests of one run, or all that are the daemon's, oldest first, and remove them.

    Each is returned once. Inside a transaction.
    """
    rows = database.rows("requests") if run_id is None else database.rows("requests_of", run_id=run_id)
    database.change_many("drop_request", [{"request_id": row["request_id"]} for row in rows])
    return [Request(**{name: row[name] for name in Request.__struct_fields__}) for row in rows]


def _to_recent(row: Row) -> RecentRun:
    return RecentRun(
        run_id=row["run_id"],
        state=LifeCycle(row["state"]),
        result=Result(row["result"]) if row["result"] else None,
        trigger_time=row["trigger_time"],
        start_time=row["start_time"],
        end_time=row["end_time"],
    )


def _to_job(row: Row, recent: tuple[RecentRun, ...]) -> JobRow:
    return JobRow(
        job_id=row["job_id"],
        name=row["job_name"],
        file=row["file"],
        paused=bool(row["paused"]),
        error=row["error"] or "",
        cursor=row["cursor"],
        active=row["active"],
        queued=row["queued"],
        runs=row["runs"],
        recent=recent,
    )
