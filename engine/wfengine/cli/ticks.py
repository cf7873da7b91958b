"""The command that shows the ledger of ticks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wfengine.cli import options

if TYPE_CHECKING:
    from wfengine.runs import Tick


@click.command()
@click.argument("job", required=False)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many rows.")
@options.home
@options.output
def ticks(job: str | None, limit: int, home: Path | None, output: str) -> int:
    """List what became of each instant at which a job was due, newest first; JOB is the name of one.

    RUN, QUEUED and SKIPPED name their run. MISSED has none; one row may stand for a range of instants.
    """
    import msgspec

    from wfengine.app import Engine

    engine = Engine(home)
    found = engine.ticks(job, limit=limit)
    if output == "json":
        options.print_json({"ticks": [_full(msgspec.to_builtins(tick)) for tick in found]})
    elif found:
        _print(found)
    else:
        click.echo(f"no job has been due yet in {engine.settings().home}; schedules are kept by: wfengine daemon")
    return 0


def _full(tick: dict[str, object]) -> dict[str, object]:
    """Show the count of single instants and the missing run too, so that every row has the same fields."""
    return {"count": 1, "reason": "", "run_id": None} | tick


def _print(found: list[Tick]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from wfengine.cli.live import first_line
    from wfengine.cli.tables import console

    table = Table(box=None, pad_edge=False)
    for name in ("due", "job", "outcome", "run", "late", "reason"):
        table.add_column(name, no_wrap=name not in ("reason", "due"), overflow="fold")
    for tick in found:
        table.add_row(
            _due(tick),
            escape(tick.job_name),
            str(tick.outcome),
            str(tick.run_id or ""),
            options.seconds(tick.recorded_at - tick.through) if tick.run_id else "",
            escape(first_line(tick.reason)),
        )
    console().print(table)


def _due(tick: Tick) -> str:
    from wfengine.clock import iso

    first = iso(tick.due)[:19] + "Z"
    return first if tick.count == 1 else f"{first} to {iso(tick.through)[:19]}Z, {options.rows(tick.count)} instants"
