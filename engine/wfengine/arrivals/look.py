"""What a look at the world gives, and how long a change has to wait before it starts a run."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from wfengine.clock import iso

#: Milliseconds from one look to the next.
LOOK_MS = 10_000


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was found; times in epoch milliseconds."""

    #: The tick that is due now; None when there is none.
    due: int | None = None
    #: What to give to the next look, as JSON; the very object that was given when there is nothing new to remember.
    state: Any
    #: For people: what arrived, or what is waited for.
    reason: str
    #: When to look again.
    next_look: int
    #: Whether ``reason`` tells of something to mend, as a folder that is not there.
    fault: bool = False


class Arrival(Protocol):
    """Something that is due without a clock: it looks whether anything arrived."""

    @property
    def paused(self) -> bool:
        """Whether the job file pauses it."""
        ...

    def look(self, state: Any, now: int) -> Look:
        """Look for arrivals since the look that returned ``state``; None for the first look, which is never due.

        Store the state in the transaction that records the tick. A look whose state is not stored did not happen: the
        next one finds the same again, so a job that is at its limit of runs is best not looked at, and what arrives
        meanwhile or in a pause is found afterwards, once. Raises nothing for what can be wrong with files and tables.
        """
        ...


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long changes wait, in seconds."""

    #: At least this long after the last tick.
    min_time_between_triggers_seconds: int = 0
    #: At least this long without a further change.
    wait_after_last_change_seconds: int = 0
    pause_status: str = "UNPAUSED"

    @property
    def paused(self) -> bool:
        """Whether the job file pauses it."""
        return self.pause_status == "PAUSED"


class Memory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every trigger remembers, in epoch milliseconds."""

    #: When the last change was seen; None when nothing waits.
    changed_at: int | None = None
    #: The last tick.
    fired_at: int | None = None


def kept(state: Any, before: Memory, after: Memory) -> Any:
    """Return ``state`` itself when nothing is new in the memory that was read from it, else the new memory as JSON."""
    return state if state is not None and before == after else msgspec.to_builtins(after)


def past(ms: int | None, now: int) -> int | None:
    """Return ``ms``, or ``now`` where it lies ahead: after a clock was set back nothing waits for the old time."""
    return None if ms is None else min(ms, now)


def waits_until(pace: Pace, memory: Memory, now: int) -> int:
    """Return the time before which a change that waits is not due; the times in ``memory`` are past."""
    ready = (now if memory.changed_at is None else memory.changed_at) + pace.wait_after_last_change_seconds * 1000
    if memory.fired_at is not None:
        ready = max(ready, memory.fired_at + pace.min_time_between_triggers_seconds * 1000)
    return ready


def waiting(what: str, until: int) -> str:
    """Say that something waits, for people."""
    return f"{what}; waits until {iso(until)}"
