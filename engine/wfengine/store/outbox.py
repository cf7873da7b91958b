"""The outbox: events waiting for each subscriber, written in the transaction of the change they tell."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wfengine.events import AnyEvent
from wfengine.store.database import Database
from wfengine.store.rows import decode_event, encode

#: The subscriber that every home has: the log of the run.
RUN_LOG = "run.jsonl"


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """One event that one subscriber has not taken yet."""

    subscriber: str
    #: The run; for an event of a job and of none of its runs, the job's id made negative.
    run_id: int
    #: Place of the event in its run, from 1.
    number: int
    #: How often it was tried in vain.
    tries: int
    #: Epoch milliseconds of the first failure; None before it.
    failing_since: int | None
    event: AnyEvent

    @property
    def delivery_id(self) -> str:
        """The same on every repetition, unique in the home."""
        return f"{self.run_id}-{self.number}-{self.subscriber}"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that failed at ``now``; ``next_at`` None gives it up for good."""

    pending: Pending
    error: str
    now: int
    next_at: int | None


class Outbox:
    """Reads and settles deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, event: AnyEvent, run_id: int, number: int, subscribers: Sequence[str]) -> None:
        """Store an event and its deliveries, inside a transaction."""
        self._database.change("add_event", run_id=run_id, number=number, event=encode(event))
        self._database.change_many(
            "add_delivery",
            [{"subscriber": name, "run_id": run_id, "number": number} for name in (RUN_LOG, *subscribers)],
        )

    def ready_runs(self, subscriber: str, now: int) -> list[int]:
        """Return the runs whose earliest undelivered event may be tried at ``now`` (epoch milliseconds)."""
        return [row["run_id"] for row in self._database.rows("ready_runs", subscriber=subscriber, now=now)]

    def pending(self, subscriber: str, run_id: int, limit: int) -> list[Pending]:
        """Return the undelivered events of a run, in the order in which they must be delivered."""
        rows = self._database.rows("pending", subscriber=subscriber, run_id=run_id, limit=limit)
        return [
            Pending(
                subscriber=row["subscriber"],
                run_id=row["run_id"],
                number=row["number"],
                tries=row["tries"],
                failing_since=row["failing_since"],
                event=decode_event(row["event"]),
            )
            for row in rows
        ]

    def next_retry(self, subscriber: str, now: int) -> int | None:
        """Return when (epoch milliseconds) the next failed delivery may be repeated; None when there is none."""
        row = self._database.row("next_retry", subscriber=subscriber, now=now)
        return row["next_at"] if row else None

    def settle(self, delivered: Sequence[Pending], failures: Sequence[Failure] = ()) -> None:
        """Remove what was delivered and note what failed, in one transaction."""
        with self._database.writing():
            self._database.change_many("delivered", [_key(pending) for pending in delivered])
            self._database.change_many(
                "failed",
                [
                    {
                        **_key(failure.pending),
                        "state": "DEAD" if failure.next_at is None else "PENDING",
                        "error": failure.error,
                        "next_at": failure.next_at or 0,
                        "now": failure.now,
                    }
                    for failure in failures
                ],
            )


def _key(pending: Pending) -> dict[str, object]:
    return {"subscriber": pending.subscriber, "run_id": pending.run_id, "number": pending.number}
