"""What a daemon tells of itself: a small file in its home, written anew every few seconds.

A file and no row of the store: it costs no commit and no sync, and can still be told when the store cannot be written.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from wfengine import log
from wfengine.clock import Clock, since_boot
from wfengine.home import open_private

#: Name in the home.
FILE = "daemon.json"
#: Seconds between two beats when nothing has changed.
BEAT_SECONDS = 5.0
#: Broken job files that are told by name, and characters told of each error.
MOST_FILES, MOST_TEXT = 20, 500
#: The window of the lag: so many slices of so many seconds.
SLICES, SLICE_SECONDS = 5, 60.0
#: Upper bounds of the classes that lags are counted in, each a quarter above the one before: 0.1 ms to 130 s.
BOUNDS = tuple(0.0001 * 1.25**n for n in range(64))


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What a daemon tells of itself at one moment."""

    pid: int
    #: Epoch milliseconds of its start and of this beat.
    started_at: int
    time: int
    #: Seconds since the machine's start, which a change of the wall clock does not touch.
    steady: float
    #: Seconds that anything new had to wait for the loop in the last minutes: 99 % of turns at most, and all at most.
    lag_p99: float = 0.0
    lag_max: float = 0.0
    #: Jobs it looks after, and runs it executes now.
    jobs: int = 0
    runs: int = 0
    #: Why nothing is started by schedule; empty when all is well.
    alarm: str = ""
    #: Why nothing can be stored or started at all; empty when all is well.
    trouble: str = ""
    #: Whether it has been told to end.
    stopping: bool = False
    #: How many job files or folders are broken, and what is wrong with the first of them.
    broken: int = 0
    errors: dict[str, str] = {}
    #: Plugins that get no more events from this process, each with the reason.
    disabled: dict[str, str] = {}


def read(home: Path) -> Beat | None:
    """Return the last beat told in a home; None when there is none that can be read."""
    try:
        return msgspec.json.decode((home / FILE).read_bytes(), type=Beat)
    except (OSError, msgspec.DecodeError):
        return None


class Lag:
    """How late a loop was in the last minutes; the same small memory however often it turns."""

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque(maxlen=SLICES)

    def add(self, seconds: float, now: float) -> None:
        """Count one turn that was ``seconds`` late; ``now`` is a monotonic time."""
        if not self._slices or now >= self._slices[-1].until:
            self._slices.append(_Slice(now + SLICE_SECONDS))
        newest = self._slices[-1]
        newest.most = max(newest.most, seconds)
        newest.counts[min(bisect_left(BOUNDS, seconds), len(BOUNDS) - 1)] += 1

    def figures(self, now: float) -> tuple[float, float]:
        """Return the lag that 99 % of the turns kept within, rounded up to its class, and the greatest, in seconds."""
        kept = [part for part in self._slices if part.until > now - SLICES * SLICE_SECONDS]
        counts = [sum(column) for column in zip(*(part.counts for part in kept), strict=True)]
        most, left = max((part.most for part in kept), default=0.0), sum(counts) // 100
        for bound, count in zip(reversed(BOUNDS), reversed(counts), strict=False):
            if count > left:
                return min(bound, most), most
            left -= count
        return 0.0, most


class Pulse:
    """Measures a daemon's loop and tells of it; used by the loop's thread, ``latest`` may be read by any."""

    def __init__(self, home: Path, clock: Clock, steady: Callable[[], float] = since_boot) -> None:
        """``steady`` gives seconds that another process of the machine can compare with its own."""
        self._path, self._clock, self._steady = home / FILE, clock, steady
        self._lag = Lag()
        self._due: float | None = None
        self._next = 0.0
        self._changes: tuple[object, ...] = ()
        self._fault = ""
        now = clock.now_ms()
        #: The last beat.
        self.latest = Beat(pid=os.getpid(), started_at=now, time=now, steady=steady())

    def sleeps(self, seconds: float) -> None:
        """Say that the loop has done its work and waits for at most ``seconds``."""
        now = self._clock.monotonic()
        if self._due is not None:
            self._lag.add(now - self._due, now)
        self._due = now + seconds

    def wakes(self) -> None:
        """Say that the wait is over: early because something happened, or late because the machine is busy."""
        if self._due is not None:
            self._due = min(self._due, self._clock.monotonic())

    def beat(
        self,
        *,
        jobs: int,
        runs: int,
        alarm: str = "",
        trouble: str = "",
        stopping: bool = False,
        errors: Mapping[Path, str],
        disabled: Mapping[str, str],
    ) -> None:
        """Tell how things stand, when anything but the number of runs has changed or some seconds have passed."""
        now = self._clock.monotonic()
        changes = (jobs, alarm, trouble, stopping, errors, disabled)
        if now < self._next and changes == self._changes:
            return
        self._next, self._changes = now + BEAT_SECONDS, changes
        lag_p99, lag_max = self._lag.figures(now)
        self.latest = Beat(
            pid=self.latest.pid,
            started_at=self.latest.started_at,
            time=self._clock.now_ms(),
            steady=self._steady(),
            lag_p99=round(lag_p99, 4),
            lag_max=round(lag_max, 4),
            jobs=jobs,
            runs=runs,
            alarm=alarm,
            trouble=trouble,
            stopping=stopping,
            broken=len(errors),
            errors={str(path): error[:MOST_TEXT] for path, error in sorted(errors.items())[:MOST_FILES]},
            disabled=dict(disabled),
        )
        self._write()

    def end(self) -> None:
        """Take the file away: whoever reads it finds no daemon."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        try:
            with open(open_private(fresh, os.O_WRONLY | os.O_TRUNC), "wb") as file:
                file.write(msgspec.json.encode(self.latest))
            os.replace(fresh, self._path)
            self._fault = ""
        except OSError as error:
            # A full disk stops no daemon; what is told gets old, and whoever reads it sees that the disk is full.
            fault = error.strerror or str(error)
            if fault != self._fault:
                log.get().warning("cannot tell how the daemon is", file=str(self._path), error=fault)
            self._fault = fault


class _Slice:
    """The turns of one minute."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.most = 0.0
        self.counts = [0] * len(BOUNDS)
