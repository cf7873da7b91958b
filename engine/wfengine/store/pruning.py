"""Old runs are removed: their rows in short transactions, then the folders that the rows leave behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from wfengine.store.database import Database

#: Runs and attempts of one transaction, so that no other writer waits long.
MOST_RUNS, MOST_ATTEMPTS = 200, 5_000
#: Ticks without runs of one transaction.
MOST_TICKS = 5_000
_PARTS = ("deliveries", "events", "attempts", "repairs", "requests", "ticks", "runs")


class Old(msgspec.Struct, frozen=True, kw_only=True):
    """What is old enough to go."""

    runs: int
    #: Of the ledger, without those of the runs.
    ticks: int
    #: Folders that have no rows any more.
    folders: int


class Pruning:
    """Removes what ended before a limit; every method is one short transaction or reads only.

    Rows go before folders: a folder whose rows went is known as a leftover until it is gone too, so that whatever is
    interrupted goes on with the next call.
    """

    def __init__(self, database: Database, before: int) -> None:
        """``before`` is in epoch milliseconds."""
        self._database, self._before = database, before

    def old(self) -> Old:
        """Count what would go."""
        with self._database.reading():
            runs = self._database.rows("old_runs", after=0, before=self._before, limit=-1)
            missed = self._database.row("old_missed", before=self._before)
            folders = self._database.rows("leftovers_before", before=self._before)
        return Old(runs=len(runs), ticks=missed["count"] if missed else 0, folders=len(folders))

    def batch(self, after: int) -> list[int]:
        """Return the next old runs with ids above ``after``, as many as one transaction may take."""
        found: list[int] = []
        attempts = 0
        for row in self._database.rows("old_runs", after=after, before=self._before, limit=MOST_RUNS):
            attempts += row["attempts"]
            if found and attempts > MOST_ATTEMPTS:
                break
            found.append(row["run_id"])
        return found

    def forget(self, run_ids: Sequence[int]) -> int:
        """Remove all rows of these runs and note their folders as leftovers; those repaired meanwhile stay.

        Returns how many runs went.
        """
        # All that refers to a run goes with it. Looking for the rest, once for each row, is what would take long.
        with self._database.without_references(), self._database.writing():
            self._database.change_many("mark_pruned", [{"run_id": each, "before": self._before} for each in run_ids])
            return [self._database.change(f"prune_{part}") for part in _PARTS][-1]

    def forget_ticks(self) -> int:
        """Remove some old ticks that have no run; return how many, 0 when there are none left."""
        with self._database.writing():
            return self._database.change("prune_missed", before=self._before, limit=MOST_TICKS)

    def forget_rest(self) -> int:
        """Remove what jobs were told of old missed ticks, and the jobs' texts that no run refers to any more.

        Returns how many texts went.
        """
        with self._database.writing():
            self._database.change("prune_told", before=self._before)
        unused = self._database.row("unused_snapshots")
        if not unused or not unused["count"]:
            return 0
        with self._database.without_references(), self._database.writing():
            return self._database.change("prune_snapshots")

    def leftovers(self) -> list[int]:
        """Return the runs whose folders have no rows any more and may go."""
        return [row["run_id"] for row in self._database.rows("leftovers_before", before=self._before)]

    def settled(self, run_ids: Iterable[int]) -> None:
        """Forget leftovers whose folders are gone."""
        with self._database.writing():
            self._database.change_many("drop_leftover", [{"run_id": run_id} for run_id in run_ids])
