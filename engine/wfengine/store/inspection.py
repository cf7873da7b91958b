"""All that a home holds, row by row in the order of runs, for the audit; reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from wfengine.jobs import Job
from wfengine.store.database import Database, Row
from wfengine.store.rows import decode_job


class RunLine(msgspec.Struct, frozen=True, gc=False):
    """A run in brief, as it is stored."""

    run_id: int
    job_id: int
    #: Digest of the job as it was.
    snapshot: bytes
    state: str
    result: str | None
    start_time: int | None
    end_time: int | None
    repair_count: int


class AttemptLine(msgspec.Struct, frozen=True, gc=False):
    """An attempt in brief, as it is stored."""

    run_id: int
    task_run_id: int
    task_key: str
    iteration: int
    attempt_number: int
    state: str
    result: str | None
    start_time: int | None
    end_time: int | None
    outcome: str | None


class RepairLine(msgspec.Struct, frozen=True, gc=False):
    """A repair in brief, with the digest of the job and the start of the run before it."""

    run_id: int
    number: int
    snapshot: bytes
    start_time: int | None


class EventLine(msgspec.Struct, frozen=True, gc=False):
    """The part of an event that the audit compares."""

    kind: str
    task_key: str = ""
    task_run_id: int = 0
    iteration: int = -1
    result: str | None = None
    task_keys: tuple[str, ...] = ()


class Dossier(msgspec.Struct, frozen=True, gc=False):
    """All rows of one run."""

    run: RunLine
    #: By task, iteration and number.
    attempts: tuple[AttemptLine, ...]
    #: In order, each with its number.
    events: tuple[tuple[int, EventLine], ...]
    repairs: tuple[RepairLine, ...]


class Oddity(msgspec.Struct, frozen=True):
    """A row that stands alone although it belongs to something else."""

    rule: str
    subject: str
    message: str


_event = msgspec.json.Decoder(EventLine)


class Inspection:
    """Reads one moment of a home; use it inside ``Store.inspecting``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_ids(self) -> set[int]:
        """Return all runs."""
        return {row[0] for row in self._database.each("audit_run_ids")}

    def executed(self) -> set[int]:
        """Return the runs of which some attempt was started."""
        return {row[0] for row in self._database.each("audit_executed")}

    def dossiers(self) -> Iterator[Dossier]:
        """Yield every run with its rows, oldest first; one run is in memory at a time."""
        attempts = _Shares(self._database.each("audit_attempts"))
        events = _Shares(self._database.each("audit_events"))
        repairs = _Shares(self._database.each("audit_repairs"))
        for row in self._database.each("audit_runs"):
            run = RunLine(*row)
            yield Dossier(
                run,
                tuple(AttemptLine(*each) for each in attempts.of(run.run_id)),
                tuple((each[1], _event.decode(each[2])) for each in events.of(run.run_id)),
                tuple(RepairLine(*each) for each in repairs.of(run.run_id)),
            )

    def job(self, snapshot: bytes) -> Job | None:
        """Return the job with this digest; None when it is not stored."""
        row = self._database.row("audit_snapshot", sha256=snapshot)
        return decode_job(row["job"]) if row else None

    def oddities(self) -> Iterator[Oddity]:
        """Yield the rows whose other half is missing, and ids that came twice."""
        for row in self._database.each("audit_oddities"):
            yield Oddity(*row)

    def leftovers(self) -> set[int]:
        """Return the runs whose folders are known to have no rows."""
        return {row["run_id"] for row in self._database.rows("audit_leftovers")}


class _Shares:
    """Rows that are ordered by their run, which is their first column, handed out run by run."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._groups: Iterator[tuple[int, Iterator[Any]]] = groupby(rows, itemgetter(0))
        self._next = next(self._groups, None)

    def of(self, run_id: int) -> Iterable[Any]:
        """Return the rows of a run, which must be greater than the one before; use them before the next call."""
        while self._next is not None and self._next[0] < run_id:
            self._next = next(self._groups, None)
        if self._next is None or self._next[0] != run_id:
            return ()
        found = list(self._next[1])
        self._next = next(self._groups, None)
        return found
