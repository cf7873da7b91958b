"""``wfengine simulate``: what schedules, retries and limits would lead to; nothing is run."""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wfengine.cli import options
from wfengine.errors import listed, shown

if TYPE_CHECKING:
    from rich.console import Console

    from wfengine.simulation import JobReport, Script

#: Jobs named at most for a day on which clocks change, those first to which it does something.
_JOBS = 8
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_FAILURE = re.compile(r"(?P<task>.+?)(?:@(?P<day>[^@#/]*))?(?:#(?P<attempt>\d+))?")


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--from", "start", required=True, metavar="TIME", help="First moment, as 2026-01-01 or 2026-01-01T06:00.")
@click.option("--to", "until", required=True, metavar="TIME", help="The moment it ends, itself not part of it.")
@click.option("--timezone", metavar="ZONE", default="UTC", show_default=True, help="Time zone of --from and --to.")
@click.option(
    "--duration", "durations", multiple=True, metavar="TASK=5m", help="How long a task takes. [default: 1 minute]"
)
@click.option(
    "--fail", "failures", multiple=True, metavar="TASK[@DAY][#N]", help="Let a task fail, #0 in its first attempt."
)
@click.option("--max-tasks", type=click.IntRange(1), help="Tasks at the same time. [default: no limit]")
@options.root
@options.output
def simulate(
    files: tuple[Path, ...],
    start: str,
    until: str,
    timezone: str,
    durations: tuple[str, ...],
    failures: tuple[str, ...],
    max_tasks: int | None,
    root: Path | None,
    output: str,
) -> int:
    """Show what job files, folders and globs would lead to between two moments; nothing is run or written.

    TASK is a task key, or JOB/TASK when several jobs have one of that name. DAY, as 2026-03-29, is one in the time
    zone of the job; without it the task fails every day, and without #N in every attempt.
    """
    from wfengine.app import Engine
    from wfengine.schedule import Zone
    from wfengine.simulation import play

    zone = Zone(timezone)
    first, end = options.moment(start, zone, "--from"), options.moment(until, zone, "--to")
    if end <= first:
        raise click.UsageError(f"--to {shown(until)!r} should be later than --from {shown(start)!r}")
    scene = Engine(root=root).scene(files, start=first, max_tasks=max_tasks)
    _direct(scene.script, durations, failures)
    found = play(scene, end, processes=os.cpu_count() or 1)
    if output == "json":
        options.print_json({"from": first, "to": end, "jobs": found})
    else:
        _print(found)
    return 0


def _direct(script: Script, durations: tuple[str, ...], failures: tuple[str, ...]) -> None:
    for task, text in options.pairs(durations, "--duration").items():
        script.duration(task, _milliseconds(text))
    for text in failures:
        match = _FAILURE.fullmatch(text)
        try:
            day = date.fromisoformat(match["day"]) if match and match["day"] is not None else None
        except ValueError:
            match = None
        if match is None:
            raise click.UsageError(f"--fail {shown(text)!r}: write task, task@2026-03-29 or task@2026-03-29#0")
        script.fail(match["task"], day=day, attempts=[int(match["attempt"])] if match["attempt"] else None)


def _milliseconds(text: str) -> int:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise click.UsageError(f"--duration {shown(text)!r}: write a duration as 90s, 5m or 1h30m")
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _print(found: list[JobReport]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from wfengine.cli.live import styled
    from wfengine.cli.tables import console

    table = Table(box=None, pad_edge=False)
    names = ("job", "due", "started", "skipped", "queued", "missed", "longest queue", "overlaps", "results")
    for name in names:
        table.add_column(name, justify="left" if name in ("job", "results") else "right", no_wrap=name != "results")
    for job in found:
        numbers = (job.due, job.started, job.skipped, job.queued, job.missed)
        queue = f"{job.longest_queue}, {options.seconds(job.longest_wait_ms)}" if job.queued else "0"
        results = ", ".join(f"{count:,} {styled(result)}" for result, count in sorted(job.results.items()))
        table.add_row(escape(job.job), *(f"{n:,}" for n in numbers), queue, f"{job.overlaps:,}", results)
    out = console()
    out.print(table)
    for job in found:
        if job.remark:
            out.print(f"{escape(job.job)}: {escape(job.remark)}", soft_wrap=True)
    _print_changes(out, found)


def _print_changes(out: Console, found: list[JobReport]) -> None:
    """Mark the days on which clocks change, and what that does to the jobs."""
    from rich.markup import escape

    days: dict[tuple[str, str], list[str]] = {}
    changes = [(job.job, change) for job in found for change in job.clock_changes]
    for job, change in sorted(changes, key=lambda one: not one[1].notes):
        notes = f" ({'; '.join(change.notes)})" if change.notes else ""
        days.setdefault((change.day, change.zone), []).append(f"{job} {change.ticks}{notes}")
    for (day, zone), jobs in sorted(days.items()):
        out.print(f"{day} the clocks of {zone} change; ticks on it: {escape(listed(jobs, _JOBS))}", soft_wrap=True)
