"""What becomes of the ticks that passed while nobody was looking."""

from __future__ import annotations

import msgspec

from wfengine.errors import ScheduleError, did_you_mean, shown
from wfengine.schedule.due import Due

#: Runs for missed ticks: one for the newest, one for each, none.
POLICIES = ("latest", "all", "none")


class MissedRange(msgspec.Struct, frozen=True):
    """Ticks without a run, as one row of the ledger; times in epoch milliseconds."""

    first: int
    last: int
    count: int


class CatchUp(msgspec.Struct, frozen=True):
    """Which ticks get a run, oldest first, and which older ones do not."""

    run: tuple[int, ...] = ()
    missed: MissedRange | None = None


def catch_up(policy: str, due: Due, cursor: int, now: int, *, cap: int = 100, grace: int = 0) -> CatchUp:
    """Decide about the ticks after ``cursor``, the last one decided, up to and including ``now``.

    ``latest`` runs the newest of them, ``all`` the newest ``cap``, ``none`` only those of the last ``grace``
    milliseconds, which are not missed but on time. All older ones are one range. Nothing is listed that does not run,
    so ten years of a job that is due every second are counted in milliseconds. Raises ScheduleError for another policy.
    """
    if policy not in POLICIES:
        hint = did_you_mean(policy, POLICIES)
        raise ScheduleError("schedule.catch_up", f"should be one of {', '.join(POLICIES)}", hint, value=shown(policy))
    if policy == "none":
        run = due.latest(max(cursor, now - grace), now, cap) if grace > 0 else []
    else:
        run = due.latest(cursor, now, cap if policy == "all" else 1)
    until = run[0] - 1 if run else now
    first = due.next_after(cursor)
    if first is None or first > until:
        return CatchUp(tuple(run))
    last = due.latest(cursor, until, 1)[0]
    return CatchUp(tuple(run), MissedRange(first, last, due.count(cursor, until)))
