"""Commands about schedules: what would be due when. Nothing is run."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import click

from wfengine.cli import options
from wfengine.clock import SystemClock, iso
from wfengine.errors import UsageError, shown
from wfengine.jobs import Job, Schedule
from wfengine.schedule import Due, Zone, every
from wfengine.schedule import compile as compile_schedule

_DAY = 86_400_000
_TWO_YEARS = 2 * 366 * 86_400
#: Ticks listed at most when --days is given; the rest is counted.
_MOST = 1_000
#: Ticks shown on each side of a change of the clocks.
_NEAR = 5
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class _Asked(NamedTuple):
    """What to look at: when a job, or an expression of the command line, is due, from a moment on."""

    job: str | None
    due: Due
    zone: Zone
    #: Epoch milliseconds just before the first moment looked at.
    after: int
    paused: bool = False


@click.group()
def schedule() -> None:
    """See when jobs are due."""


@schedule.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--quartz", metavar="EXPRESSION", help="A Quartz expression instead of a file: 6 or 7 fields.")
@click.option("--cron", metavar="EXPRESSION", help="A Unix cron expression instead of a file: 5 fields.")
@click.option("--timezone", metavar="ZONE", help="Time zone of the expression. [default: UTC]")
@click.option("--from", "start", metavar="TIME", help="First moment, as 2026-03-29 or 2026-03-29T02:00. [default: now]")
@click.option("--count", type=click.IntRange(1, _MOST), help="How many ticks. [default: 10]")
@click.option("--days", type=click.IntRange(1, 3660), help="All ticks of so many days instead.")
@click.option("--around-dst", is_flag=True, help="The ticks around the next two changes of the zone's clocks.")
@options.job
@options.target
@options.variables
@options.output
def preview(
    file: Path | None,
    quartz: str | None,
    cron: str | None,
    timezone: str | None,
    start: str | None,
    count: int | None,
    days: int | None,
    around_dst: bool,
    job: str | None,
    target: str | None,
    variables: tuple[str, ...],
    output: str,
) -> int:
    """Show when a job, or an expression, would be due, in local time and UTC.

    Job files say the zone themselves: give --timezone with --quartz or --cron only.
    """
    if sum(given is not None for given in (file, quartz, cron)) != 1:
        raise click.UsageError("give one of FILE, --quartz and --cron")
    if file and timezone:
        raise click.UsageError("--timezone goes with --quartz or --cron; a job file says its own")
    if sum((count is not None, days is not None, around_dst)) > 1:
        raise click.UsageError("give one of --count, --days and --around-dst")
    if file:
        from wfengine.app import Engine

        found, _ = Engine().validate(file, options.pairs(variables, "--var"), job=job, target=target)
        asked = _of_job(found, start)
    else:
        asked = _of_schedule(
            Schedule(quartz_cron_expression=quartz or "", cron=cron or "", timezone_id=timezone or "UTC"), start
        )
    ticks, more = (_around_changes(asked), 0) if around_dst else _plain(asked, count, days)
    if output == "json":
        options.print_json([_plain_tick(asked, tick) for tick in ticks])
    else:
        _print(asked, ticks)
    if more:
        click.echo(f"and {more:,} more in these {days} days", err=True)
    return 0


def _of_job(job: Job, start: str | None) -> _Asked:
    if job.schedule:
        return _of_schedule(job.schedule, start, job.name)
    periodic = job.trigger.get("periodic")
    if not periodic:
        raise UsageError(f"job {shown(job.name)!r} has no schedule: give it a schedule or a periodic trigger")
    zone = Zone("UTC")
    after = _moment(start, zone) - 1
    paused = job.trigger.get("pause_status") == "PAUSED"
    return _Asked(job.name, every(periodic["interval"], periodic["unit"], after + 1), zone, after, paused)


def _of_schedule(found: Schedule, start: str | None, job: str | None = None) -> _Asked:
    zone = Zone(found.timezone_id)
    after = _moment(start, zone) - 1
    return _Asked(job, compile_schedule(found, after), zone, after, found.pause_status == "PAUSED")


def _moment(text: str | None, zone: Zone) -> int:
    """Return the epoch milliseconds of ``--from``; None is now."""
    return SystemClock().now_ms() if text is None else options.moment(text, zone, "--from")


def _plain(asked: _Asked, count: int | None, days: int | None) -> tuple[list[int], int]:
    """Return the next ticks, and how many more there are in the days asked for."""
    if days is None:
        return asked.due.between(asked.after, options.LAST_SECOND * 1000, count or 10), 0
    until = asked.after + days * _DAY
    ticks = asked.due.between(asked.after, until, _MOST)
    return ticks, asked.due.count(asked.after, until) - len(ticks)


def _around_changes(asked: _Asked) -> list[int]:
    """Return the ticks nearest to the next two changes of the clocks, within a day and a half of each."""
    second = asked.after // 1000
    changes = [change * 1000 for change in islice(asked.zone.changes(second, second + _TWO_YEARS), 2)]
    if not changes:
        click.echo(f"{asked.zone.name} does not change its clocks in the next two years", err=True)
    ticks: dict[int, None] = {}
    for change in changes:
        before, after = max(change - _DAY * 3 // 2, asked.after), change + _DAY * 3 // 2
        ticks.update(dict.fromkeys(asked.due.latest(before, change - 1, _NEAR)))
        ticks.update(dict.fromkeys(asked.due.between(change - 1, after, _NEAR)))
    return list(ticks)


def _plain_tick(asked: _Asked, tick: int) -> dict[str, Any]:
    note = asked.due.note(tick)
    local = asked.zone.local(tick // 1000).isoformat()
    return {"job": asked.job, "due": tick, "local": local, **({"note": note} if note else {})}


def _print(asked: _Asked, ticks: list[int]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from wfengine.cli.tables import console

    out = console()
    out.print(escape(f"{shown(asked.job)}: {asked.due.words()}" if asked.job else asked.due.words()))
    if asked.paused:
        out.print("paused: nothing is due while pause_status is PAUSED")
    table = Table(box=None, pad_edge=False)
    for name in ("", f"local time in {asked.zone.name}", "UTC", ""):
        table.add_column(name, no_wrap=True)
    for tick in ticks:
        local = asked.zone.local(tick // 1000)
        table.add_row(_WEEKDAYS[local.weekday()], str(local), iso(tick)[:19] + "Z", asked.due.note(tick))
    if ticks:
        out.print(table)
    else:
        out.print("no tick in that time")
