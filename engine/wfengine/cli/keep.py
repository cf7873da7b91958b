"""Commands that look after a home: ``audit``, ``prune``, ``backup``, ``restore``."""

from __future__ import annotations

from pathlib import Path

import click

from wfengine.cli import options

#: Breaks that are printed for people.
MOST_BREAKS = 100


@click.command()
@options.home
@options.output
def audit(home: Path | None, output: str) -> int:
    """Check a home against the rules: runs, tasks, events, ticks, folders, tables; exit code 1 when one is broken."""
    import msgspec

    from wfengine.app import Engine

    engine = Engine(home)
    found = engine.audit()
    if output == "json":
        options.print_json({"ok": not found.breaks, **msgspec.to_builtins(found)})
        return 1 if found.breaks else 0
    for each in found.breaks[:MOST_BREAKS]:
        click.echo(f"{click.style('BROKEN', fg='red')} {each}")
    if len(found.breaks) > MOST_BREAKS:
        click.echo(f"and {len(found.breaks) - MOST_BREAKS:,} more; --output json has them all")
    for what in found.unchecked:
        click.echo(f"not checked: {what}")
    verdict = f"{len(found.breaks):,} breaks" if found.breaks else "nothing is broken"
    click.echo(f"{found.runs:,} runs and {found.tables:,} tables with a ledger: {verdict}")
    return 1 if found.breaks else 0


@click.command()
@click.option("--keep-days", type=click.IntRange(1), default=60, show_default=True, help="Days that ended runs stay.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@options.home
@options.output
def prune(keep_days: int, dry_run: bool, home: Path | None, output: str) -> int:
    """Remove runs that ended long ago with their logs and outputs; a daemon may work meanwhile."""
    import msgspec

    from wfengine.app import Engine
    from wfengine.clock import iso

    done = Engine(home).prune(keep_days, dry_run=dry_run)
    if output == "json":
        options.print_json({"dry_run": dry_run, **msgspec.to_builtins(done)})
        return 0
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{done.runs:,} runs and {done.ticks:,} missed ticks from before {iso(done.before)} {verb}")
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.home
def backup(file: Path, home: Path | None) -> int:
    """Copy the state of a home to FILE, with a manifest beside it; runs and a daemon go on meanwhile."""
    from wfengine.app import Engine

    made = Engine(home).backup(file)
    click.echo(f"{made.size:,} bytes in {file}, sha256 {made.sha256}")
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.home
def restore(file: Path, home: Path | None) -> int:
    """Put the backup FILE in the place of the home's state; the replaced state is kept beside it.

    No daemon and no run may be alive in the home. The folders of runs stay as they are.
    """
    from wfengine.app import Engine

    done = Engine(home).restore(file)
    click.echo(f"the state is again that of {done.manifest.made_at}")
    if done.kept:
        click.echo(f"the replaced state is kept as {done.kept}")
    if done.leftovers:
        click.echo(f"{done.leftovers:,} folders of runs that it does not know stay until they are pruned")
    return 0
