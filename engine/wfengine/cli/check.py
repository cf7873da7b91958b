"""Commands that look at files and plugins and run nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wfengine.cli import options
from wfengine.errors import JobFileError


@click.command()
@options.job_file
@options.variables
@options.job
@options.target
@options.root
@options.output
def validate(
    file: Path, variables: tuple[str, ...], job: str | None, target: str | None, root: Path | None, output: str
) -> int:
    """Check a job file or a bundle and list every fault with its place; nothing is run.

    Of a bundle it lists the jobs and their tasks, and what cannot run here and why; --job checks one of them as
    run-once would.
    """
    import msgspec

    from wfengine.app import Engine, Origin
    from wfengine.cli.bundles import report
    from wfengine.jobfile.bundle.listing import Bundle

    engine = Engine(root=root)
    given = options.pairs(variables, "--var")
    try:
        if job is None:
            found = engine.inspect(file, given, target=target)
            if isinstance(found, Bundle):
                return report(found, output)
            checked, warnings = found.job, found.warnings
            engine.refuse_chains(checked, Origin(given, target))
        else:
            checked, warnings = engine.validate(file, given, job=job, target=target)
    except JobFileError as error:
        if output == "json":
            options.print_json({"valid": False, "faults": msgspec.to_builtins(error.faults), "warnings": []})
            return error.exit_code
        raise
    if output == "json":
        warned = msgspec.to_builtins(list(warnings))
        options.print_json({"valid": True, "faults": [], "warnings": warned, "job": checked})
        return 0
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{file}: job {checked.name!r} with {len(checked.tasks)} tasks is valid")
    return 0


@click.command()
@options.job_file
@click.option("--result", "results", multiple=True, metavar="TASK=RESULT", help="Assume that TASK ends as RESULT.")
@options.variables
@options.job
@options.target
@options.output
def explain(
    file: Path,
    results: tuple[str, ...],
    variables: tuple[str, ...],
    job: str | None,
    target: str | None,
    output: str,
) -> int:
    """Say which task would run, be skipped or excluded, and by which rule.

    Tasks succeed unless --result says otherwise: --result bronze=FAILED.
    """
    import msgspec

    from wfengine.app import Engine
    from wfengine.cli.tables import explanation

    given = options.pairs(variables, "--var")
    found = Engine().explain(file, options.pairs(results, "--result"), given, job=job, target=target)
    if output == "json":
        options.print_json(msgspec.to_builtins(found))
    else:
        explanation(found)
    return 0


@click.command()
@options.output
def plugins(output: str) -> int:
    """List the plugins found, what they offer, and what is wrong with them."""
    import msgspec

    from wfengine.app import Engine
    from wfengine.cli.tables import plugin_list

    found = Engine().plugins
    if output == "json":
        options.print_json({"plugins": msgspec.to_builtins(found.reports)})
    else:
        plugin_list(found)
    return 1 if any(report.error for report in found.reports) else 0


@click.command()
def schema() -> int:
    """Print the JSON Schema of the job file, with the configs of every installed layer.

    An editor completes and checks job files by it: wfengine schema > job.schema.json, then write
    "# yaml-language-server: $schema=job.schema.json" as the first line of a job file.
    """
    from wfengine.app import Engine

    document: dict[str, Any] = Engine().schema()
    options.print_json(document)
    return 0
