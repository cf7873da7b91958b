"""Counts of what is in the store, for health and metrics; reads only, and never more than it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

import msgspec

from wfengine.store.database import Database

#: The newest rows that counts over a span of time look at.
NEWEST = 20_000
#: Rows taken at a time by what follows the store as it grows.
BATCH = 5_000


class TickMark(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger in brief."""

    tick_id: int
    job_id: int
    outcome: str
    #: How many instants the row stands for.
    count: int
    run_id: int | None


class RunMark(msgspec.Struct, frozen=True, kw_only=True):
    """A run in brief; times in epoch milliseconds."""

    run_id: int
    job_id: int
    state: str
    #: None until it has ended.
    result: str | None
    trigger_type: str
    trigger_time: int
    start_time: int | None
    end_time: int | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one job that wait for a place."""

    job_id: int
    job_name: str
    count: int
    #: Epoch milliseconds since when the one that came first has waited.
    since: int


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """The events that one subscriber has not taken."""

    subscriber: str
    #: Waiting, and given up.
    waiting: int
    dead: int
    #: Epoch milliseconds at which the newest of those given up first failed; None when there is none.
    dead_since: int | None
    #: Epoch milliseconds of the oldest failure among those waiting; None while none has failed.
    failing_since: int | None


class Delay(msgspec.Struct, frozen=True, kw_only=True):
    """How late a tick was: milliseconds from its instant to its run's start, and to its row in the ledger."""

    delay: int
    noticed: int


class Figures:
    """Reads counts from one connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def moment(self) -> AbstractContextManager[None]:
        """Let all that is read in the block be of one and the same moment."""
        return self._database.reading()

    def marks(self) -> tuple[int, int]:
        """Return the id of the newest row of the ledger and of the newest run; 0 without any."""
        row = self._database.row("newest_marks")
        return (row["tick_id"], row["run_id"]) if row else (0, 0)

    def ticks_after(self, tick_id: int) -> Iterator[TickMark]:
        """Yield the rows of the ledger that were written after this one, in their order."""
        while rows := self._database.rows("ticks_after", tick_id=tick_id, limit=BATCH):
            yield from (TickMark(**row) for row in rows)
            tick_id = rows[-1]["tick_id"]

    def runs_after(self, run_id: int) -> Iterator[RunMark]:
        """Yield the runs that were made after this one, in their order."""
        while rows := self._database.rows("runs_after", run_id=run_id, limit=BATCH):
            yield from (RunMark(**row) for row in rows)
            run_id = rows[-1]["run_id"]

    def run(self, run_id: int) -> RunMark | None:
        """Return one run; None when there is none."""
        row = self._database.row("run_brief", run_id=run_id)
        return RunMark(**row) if row else None

    def jobs(self) -> dict[int, str]:
        """Return the name of every loaded job by its id, in the order of the names."""
        return {row["job_id"]: row["job_name"] for row in self._database.rows("loaded_jobs")}

    def job_errors(self) -> dict[str, str]:
        """Return what is wrong with the schedule or the last tick of loaded jobs, by name; only of those it is."""
        return {row["job_name"]: row["error"] for row in self._database.rows("job_errors")}

    def unfinished(self) -> dict[str, int]:
        """Count the runs that have not ended, by state."""
        return {row["state"]: row["count"] for row in self._database.rows("unfinished_by_state")}

    def queues(self) -> list[Line]:
        """Return the queues that are not empty."""
        return [Line(**row) for row in self._database.rows("queue_lengths")]

    def backlogs(self) -> list[Backlog]:
        """Return what subscribers have not taken, by name; nothing of one that has taken all."""
        return [Backlog(**row) for row in self._database.rows("backlogs")]

    def results(self, since: int) -> dict[str, int]:
        """Count the runs triggered since then (epoch milliseconds) that have ended, of the newest, by result."""
        rows = self._database.rows("results_since", since=since, limit=NEWEST)
        return {row["result"]: row["count"] for row in rows}

    def outcomes(self, since: int) -> dict[str, int]:
        """Count the instants written to the ledger since then (epoch milliseconds), of its newest rows, by outcome."""
        rows = self._database.rows("outcomes_since", since=since, limit=NEWEST)
        return {row["outcome"]: row["count"] for row in rows}

    def delays(self, since: int) -> list[Delay]:
        """Return how late the started ones of these ticks were, least late first; without those that had to queue."""
        return [Delay(**row) for row in self._database.rows("delays_since", since=since, limit=NEWEST)]

    def size(self) -> int:
        """Return the bytes of the state file and of its log on disk."""
        return sum(_size(f"{self._database.path}{end}") for end in ("", "-wal"))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
