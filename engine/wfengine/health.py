"""How well a home is served: facts gathered from outside, and what they mean, each finding with its mend."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from wfengine import control, pulse
from wfengine.clock import Clock, since_boot
from wfengine.errors import StateError, listed, shown
from wfengine.pulse import Beat
from wfengine.store import Backlog, Delay, Line, Store

HOUR_MS, DAY_MS = 3_600_000, 24 * 3_600_000
#: Seconds without a beat after which the daemon's loop hangs; it turns at least every thirty.
SILENT_SECONDS = 90.0
#: Seconds of lag that 99 of 100 turns of a healthy loop keep within.
LAG_SECONDS = 5.0
#: Milliseconds within which a tick is noticed in time; one noticed later was caught up with after a downtime.
IN_TIME_MS = 60_000
#: Milliseconds by which 99 of 100 ticks noticed in time may start late.
LATE_MS = 60_000
#: Milliseconds that a run may wait for a place before it is worth a word; half of what it is allowed.
WAITING_MS = DAY_MS
#: Milliseconds that a plugin may fail before it is worth a word.
FAILING_MS = HOUR_MS
#: Free bytes in the home below which its disk is about to be full.
LEAST_FREE = 256 * 1024**2


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What can be seen of a home and of its daemon."""

    home: str
    #: Process id of the daemon that serves it; None without one. 0 when it has not written it down.
    daemon: int | None
    #: What that daemon told last, and how many seconds ago; None when it has told nothing yet.
    beat: Beat | None = None
    beat_age: float | None = None
    #: Why the state cannot be read; empty when it can, or when there is none yet.
    state_error: str = ""
    store_bytes: int = 0
    free_bytes: int = 0
    #: Runs that have not ended, by state.
    runs: dict[str, int] = {}
    #: Results of the runs triggered in the last 24 hours, and outcomes of the ticks; of the newest 20,000 each.
    results: dict[str, int] = {}
    ticks: dict[str, int] = {}
    #: Milliseconds by which the ticks of the last hour started late, of those noticed in time; None without any.
    late_p50: int | None = None
    late_p99: int | None = None
    #: Started ticks of the last hour that were noticed late, which a downtime had left.
    caught_up: int = 0
    #: The queues that are not empty.
    queues: tuple[Line, ...] = ()
    #: Events that subscribers have not taken.
    backlogs: tuple[Backlog, ...] = ()
    #: What is wrong with the schedule or the last tick of loaded jobs.
    job_errors: dict[str, str] = {}


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be."""

    #: What it is about: ``daemon``, ``loop``, ``clock``, ``state``, ``disk``, ``job file``, ``job``, ``ticks``,
    #: ``queue`` or ``plugin``.
    subject: str
    #: What is wrong, and what to do about it.
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.message}: {self.mend}"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a home."""

    ok: bool
    #: Whether a daemon serves the home and turns, whatever else is wrong.
    alive: bool
    findings: tuple[Finding, ...] = ()


def assess(facts: Facts, now: int) -> Health:
    """Judge a home at the time ``now`` (epoch milliseconds); failed runs are their jobs' business and no finding."""
    looks = (_daemon, _loop, _disk, _jobs, _ticks, _plugins)
    findings = tuple(finding for look in looks for finding in look(facts, now))
    return Health(ok=not findings, alive=not any(_daemon(facts, now)), findings=findings)


def look(home: Path, clock: Clock) -> tuple[Facts, Health]:
    """Look at a home from outside and judge it, with a daemon or without; changes nothing.

    A state that cannot be read is a finding; StateError only when it cannot even be seen whether a daemon is there.
    """
    now, steady = clock.now_ms(), since_boot()
    with ExitStack() as stack:
        store = None
        try:
            if (home / "state.db").exists():
                store = stack.enter_context(Store.open(home, clock, create=False))
            facts = gather(home, store, now=now, steady=steady)
        except StateError as error:
            facts = gather(home, None, now=now, steady=steady, state_error=str(error))
    return facts, assess(facts, now)


def gather(home: Path, store: Store | None, *, now: int, steady: float, state_error: str = "") -> Facts:
    """Look at a home; ``store`` is its open state, None without one or when ``state_error`` says why it cannot be read.

    ``now`` is in epoch milliseconds, ``steady`` in seconds since the machine's start. Raises StateError as the store.
    """
    pid = (control.daemon_pid(home) or 0) if control.daemon_alive(home) else None
    beat = pulse.read(home) if pid is not None else None
    if beat is not None and beat.pid != pid:
        beat = None  # left by a daemon that was killed; the present one is just starting
    facts = Facts(
        home=str(home),
        daemon=pid,
        beat=beat,
        beat_age=None if beat is None else max(0.0, steady - beat.steady),
        state_error=state_error,
        free_bytes=shutil.disk_usage(next(path for path in (home, *home.parents) if path.exists())).free,
    )
    return facts if store is None else _counted(facts, store, now)


def _counted(facts: Facts, store: Store, now: int) -> Facts:
    figures = store.figures
    with figures.moment():
        delays = figures.delays(now - HOUR_MS)
        in_time = [delay for delay in delays if delay.noticed <= IN_TIME_MS]
        return msgspec.structs.replace(
            facts,
            store_bytes=figures.size(),
            runs=figures.unfinished(),
            results=figures.results(now - DAY_MS),
            ticks=figures.outcomes(now - DAY_MS),
            late_p50=_quantile(in_time, 0.5),
            late_p99=_quantile(in_time, 0.99),
            caught_up=len(delays) - len(in_time),
            queues=tuple(figures.queues()),
            backlogs=tuple(figures.backlogs()),
            job_errors=figures.job_errors(),
        )


def _quantile(delays: Sequence[Delay], part: float) -> int | None:
    return delays[min(int(len(delays) * part), len(delays) - 1)].delay if delays else None


# -- what the facts mean ----------------------------------------------------------------------------------------------


def _daemon(facts: Facts, now: int) -> Iterator[Finding]:
    if facts.daemon is None:
        yield Finding("daemon", f"no daemon serves {facts.home}", "start one with wfengine daemon FILES")
    elif facts.beat_age is not None and facts.beat_age > SILENT_SECONDS and facts.free_bytes >= LEAST_FREE:
        # On a full disk it cannot tell how it is, and hangs no more for that.
        yield Finding(
            "daemon",
            f"the daemon with process id {facts.daemon} has not been heard for {_span(facts.beat_age * 1000)}",
            f"see its log, then end it with kill -9 {facts.daemon} and start it anew; nothing is lost",
        )


def _loop(facts: Facts, now: int) -> Iterator[Finding]:
    beat = facts.beat
    if beat is None:
        return
    if beat.lag_p99 > LAG_SECONDS:
        late = f"the daemon's loop was late by {beat.lag_p99:.1f} s, once by {beat.lag_max:.1f} s"
        yield Finding("loop", late, "give the machine less to do, or the home a faster disk")
    if beat.alarm:
        yield Finding("clock", beat.alarm, "set it right, or confirm it with wfengine resume --clock")
    if beat.trouble and beat.trouble != beat.alarm:
        yield Finding("state", beat.trouble, "it goes on by itself when that is mended")
    if beat.broken:
        path, error = next(iter(beat.errors.items()), ("", ""))
        first = f"{path}: {_first_line(error)}" if path not in error else _first_line(error)
        more = f"; {beat.broken - 1} more are broken" if beat.broken > 1 else ""
        yield Finding("job file", f"{first}{more}", "mend it; wfengine validate FILE lists every fault")


def _disk(facts: Facts, now: int) -> Iterator[Finding]:
    if facts.state_error:
        yield Finding("state", facts.state_error, "nothing can be said about runs and ticks until then")
    if facts.free_bytes < LEAST_FREE:
        left = f"{facts.free_bytes / 1024**2:.0f} MiB"
        yield Finding("disk", f"the disk of {facts.home} has {left} left", "free some space before nothing can start")


def _jobs(facts: Facts, now: int) -> Iterator[Finding]:
    for name, error in list(facts.job_errors.items())[:3]:
        yield Finding("job", f"job {shown(name)!r}: {_first_line(error)}", "wfengine ticks JOB shows what became of it")
    if len(facts.job_errors) > 3:
        names = [shown(name) for name in facts.job_errors][3:]
        yield Finding("job", f"{len(names)} more jobs have errors ({listed(names)})", "see wfengine jobs")
    for line in facts.queues:
        if now - line.since > WAITING_MS:
            who = f"{line.count} runs of job {shown(line.job_name)!r}"
            waits = f"{who} wait for a place, one for {_span(now - line.since)}"
            yield Finding("queue", waits, "raise max_concurrent_runs, or cancel what runs; each is given up after 48 h")


def _ticks(facts: Facts, now: int) -> Iterator[Finding]:
    if facts.late_p99 is not None and facts.late_p99 > LATE_MS:
        late = f"ticks of the last hour started {_span(facts.late_p99)} late"
        yield Finding("ticks", late, "allow more tasks at a time with max_tasks, or spread the schedules")


def _plugins(facts: Facts, now: int) -> Iterator[Finding]:
    for name, reason in (facts.beat.disabled if facts.beat else {}).items():
        yield Finding("plugin", f"plugin {name} gets no more events: {reason}", "mend it and restart the daemon")
    for backlog in facts.backlogs:
        who = f"plugin {backlog.subscriber}"
        if backlog.failing_since is not None and now - backlog.failing_since > FAILING_MS:
            failing = f"{who} has taken no event for {_span(now - backlog.failing_since)}, {backlog.waiting} wait"
            yield Finding("plugin", failing, "mend it, the daemon's log says why; after 24 h each is given up")
        # A delivery is given up 24 hours after its first failure, and is worth a word for a day after that.
        if backlog.dead_since is not None and now - backlog.dead_since < 2 * DAY_MS:
            dead = f"{backlog.dead} events were given up, {who} never took them"
            yield Finding("plugin", dead, "mend it; the events stand in the run.jsonl of their runs")


def _first_line(text: str) -> str:
    return shown(text.partition("\n")[0], 300)


def _span(ms: float) -> str:
    minutes = ms / 60_000
    if minutes < 2:
        return f"{ms / 1000:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
