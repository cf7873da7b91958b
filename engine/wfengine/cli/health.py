"""``wfengine health``: is the home well served, and if not, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wfengine.cli import options
from wfengine.errors import shown

if TYPE_CHECKING:
    from wfengine.health import Facts


@click.command()
@options.home
@options.output
def health(home: Path | None, output: str) -> int:
    """Say how well the home is served: by a daemon that turns, in time, with room on its disk.

    Exit code 0 when all is well, 1 when something needs mending; runs that failed are not the engine's fault and no
    reason.
    """
    import msgspec

    from wfengine.app import Engine

    facts, found = Engine(home).health()
    if output == "json":
        options.print_json({**msgspec.to_builtins(found), "facts": msgspec.to_builtins(facts)})
        return 0 if found.ok else 1
    served = f"the daemon with process id {facts.daemon} serves" if facts.daemon is not None else "no daemon serves"
    click.echo(f"{served} {facts.home}{'; it has been told to end' if facts.beat and facts.beat.stopping else ''}")
    for subject, text in _figures(facts):
        click.echo(f"  {subject:<12} {text}")
    for finding in found.findings:
        click.echo(f"{click.style('MEND', fg='red')} {finding.subject}: {finding}")
    if found.ok:
        click.echo(click.style("all is well", fg="green"))
    return 0 if found.ok else 1


def _figures(facts: Facts) -> Iterator[tuple[str, str]]:
    if (beat := facts.beat) is not None:
        lag = f"late by {_ms(beat.lag_p99 * 1000)} at most in 99 of 100 turns, by {_ms(beat.lag_max * 1000)} in all"
        yield "loop", f"heard {facts.beat_age or 0:.0f} s ago; {lag}"
        yield "jobs", f"{beat.jobs} looked after; {beat.broken or 'no'} broken files"
    yield "runs", f"{_counts(facts.runs) or 'none'} now; {_counts(facts.results) or 'none'} in 24 h"
    late = f"; started {_ms(facts.late_p50 or 0)} late, 99 of 100 {_ms(facts.late_p99 or 0)} at most"
    yield "ticks", f"{_counts(facts.ticks) or 'none'} in 24 h{'' if facts.late_p50 is None else late}"
    if facts.queues:
        yield "queues", ", ".join(f"{line.count} of {shown(line.job_name)}" for line in facts.queues[:5])
    waiting, dead = sum(one.waiting for one in facts.backlogs), sum(one.dead for one in facts.backlogs)
    yield "events", f"{waiting} wait for plugins, {dead} were given up"
    yield "disk", f"{facts.store_bytes / 1024**2:.1f} MiB of state, {facts.free_bytes / 1024**3:.1f} GiB free"


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 10_000 else options.seconds(round(milliseconds))
