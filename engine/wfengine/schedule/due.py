"""The ticks of a schedule: local times laid over real time, and plain intervals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from wfengine.errors import ScheduleError, did_you_mean, shown
from wfengine.schedule import words
from wfengine.schedule.local import END, LocalTimes
from wfengine.schedule.zones import DAY, Zone

_UNITS = {"MINUTES": 60_000, "HOURS": 3_600_000, "DAYS": 86_400_000, "WEEKS": 7 * 86_400_000}


class Due(ABC):
    """When a job is due; every time is in epoch milliseconds."""

    @abstractmethod
    def next_after(self, ms: int) -> int | None:
        """Return the first tick strictly after ``ms``; None when there is none."""

    @abstractmethod
    def count(self, after: int, until: int) -> int:
        """Count the ticks after ``after`` up to and including ``until``, without listing them."""

    @abstractmethod
    def words(self) -> str:
        """Say the schedule for people, as in ``at 02:15 on Monday to Friday, Europe/Berlin``."""

    def note(self, ms: int) -> str:
        """Say what a change of the clocks does to the tick ``ms``; empty when it does nothing."""
        return ""

    def between(self, after: int, until: int, limit: int) -> list[int]:
        """Return the oldest ``limit`` ticks after ``after`` up to and including ``until``, oldest first."""
        found: list[int] = []
        while len(found) < limit and (tick := self.next_after(after)) is not None and tick <= until:
            found.append(tick)
            after = tick
        return found

    def latest(self, after: int, until: int, limit: int) -> list[int]:
        """Return the newest ``limit`` ticks after ``after`` up to and including ``until``, oldest first."""
        if self.count(after, until) > limit:
            low, high = after, until
            while high - low > 1:
                middle = (low + high) // 2
                if self.count(middle, until) > limit:
                    low = middle
                else:
                    high = middle
            after = high
        return self.between(after, until, limit)


class Expression(NamedTuple):
    """A cron expression that was read."""

    text: str
    times: LocalTimes
    #: Hours and minutes are plain numbers or lists of them: each time named comes once a day, whatever the clocks do.
    fixed: bool


class _Piece(NamedTuple):
    """A stretch of constant offset and the local seconds it stands for."""

    start: int
    end: int
    offset: int
    #: Local second from which names count: before the first of the stretch behind a gap, after it in a fold.
    low: int


class Calendar(Due):
    """The ticks of a cron expression in a time zone.

    With a fixed hour and minute a local time that the clocks skip is due at the first instant after the gap, and one
    that they show twice is due the first time; names that fall onto the same instant are one tick. Any other
    expression is due whenever the clocks show a time it names: never for a skipped time, twice for a repeated one.
    """

    def __init__(self, expression: Expression, zone: Zone) -> None:
        self.zone = zone
        self._text, self._times, self.fixed = expression

    def next_after(self, ms: int) -> int | None:
        """Return the first tick strictly after ``ms``; None when there is none."""
        since, named = 0, -1
        for piece in self._pieces(ms // 1000 + 1):
            if not since <= piece.low <= named:
                found = self._times.first(piece.low)
                if found is None:
                    return None
                named = found
            since = piece.low
            tick = max(named - piece.offset, piece.start)
            if tick < piece.end:
                return tick * 1000
        return None

    def count(self, after: int, until: int) -> int:
        """Count the ticks after ``after`` up to and including ``until``, without listing them."""
        found, stop = 0, until // 1000 + 1
        for piece in self._pieces(after // 1000 + 1):
            if piece.start >= stop:
                break
            low, top = piece.low, min(piece.end, stop) + piece.offset
            if low < piece.start + piece.offset:  # everything named in the gap is one tick, at its end
                skipped = self._times.count(low, piece.start + piece.offset + 1) > 0
                found, low = found + skipped, piece.start + piece.offset + 1
            found += self._times.count(low, top)
        return found

    def words(self) -> str:
        """Say the schedule for people; the expression itself when there are no simple words for it."""
        return f"{words.said(self._times) or self._text}, {self.zone.name}"

    def note(self, ms: int) -> str:
        """Say what a change of the clocks does to the tick ``ms``; empty when it does nothing."""
        second = ms // 1000
        local = self.zone.local(second)
        clock = second + self.zone.offset(second)
        if self.fixed and not self._times.count(clock, clock + 1):
            return "in the gap: moved"
        if local.utcoffset() == local.replace(fold=1 - local.fold).utcoffset():
            return ""
        return "fold: second occurrence" if local.fold else "fold: first occurrence"

    def _pieces(self, second: int) -> Iterator[_Piece]:
        """Yield the pieces of real time from ``second`` on, each with the local second from which names count."""
        second = max(second, 0)
        if second >= END:
            return
        if not self.fixed:
            for start, end, offset in self.zone.stretches(second):
                yield _Piece(start, end, offset, start + offset)
        reached: int | None = None  # local second up to which names have been used; a fold goes back before it
        for start, end, offset in self.zone.stretches(second - DAY):
            reached = start + offset if reached is None else reached
            if end > second:
                yield _Piece(start, end, offset, reached if second <= start else max(reached, second + offset))
            reached = max(reached, end + offset)


class Periodic(Due):
    """A tick every ``interval`` units of real time after ``anchor``; a day is 24 hours, whatever the clocks do."""

    def __init__(self, interval: int, unit: str, anchor: int) -> None:
        self.interval, self.unit, self.anchor = interval, unit, anchor
        self._step = interval * _UNITS[unit]

    def next_after(self, ms: int) -> int:
        """Return the first tick strictly after ``ms``."""
        return self.anchor + max(self._passed(ms) + 1, 1) * self._step

    def count(self, after: int, until: int) -> int:
        """Count the ticks after ``after`` up to and including ``until``."""
        return max(max(self._passed(until), 0) - max(self._passed(after), 0), 0)

    def words(self) -> str:
        """Say the interval, as in ``every 6 hours``."""
        unit = self.unit.lower()
        return f"every {unit.removesuffix('s')}" if self.interval == 1 else f"every {self.interval} {unit}"

    def _passed(self, ms: int) -> int:
        return (ms - self.anchor) // self._step


def every(interval: int, unit: str, anchor: int) -> Periodic:
    """Return the ticks of ``trigger.periodic``: one every ``interval`` MINUTES, HOURS, DAYS or WEEKS.

    They count from ``anchor`` (epoch milliseconds), the moment the trigger was switched on. Raises ScheduleError.
    """
    if unit not in _UNITS:
        message = f"should be one of {', '.join(_UNITS)}"
        raise ScheduleError("trigger.periodic.unit", message, did_you_mean(unit, _UNITS), value=shown(unit))
    if interval < 1:
        raise ScheduleError("trigger.periodic.interval", "should be at least 1", value=shown(interval))
    return Periodic(interval, unit, anchor)
