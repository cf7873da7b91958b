"""Commands that speak to the daemon of a home, from the same machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wfengine.cli import options

#: What is said when nobody heard it.
NOBODY = "no daemon serves this home now; the next one does it"


@click.command()
@click.argument("job")
@click.option("--param", "parameters", multiple=True, metavar="K=V", help="Value of a job parameter.")
@click.option("--idempotency-token", metavar="TOKEN", help="The same token never starts a second run.")
@options.home
@options.output
def trigger(
    job: str, parameters: tuple[str, ...], idempotency_token: str | None, home: Path | None, output: str
) -> int:
    """Ask the daemon to run JOB now; the job's limit of concurrent runs holds."""
    from wfengine.app import Engine

    given = options.pairs(parameters, "--param")
    run, heard = Engine(home).trigger(job, given, idempotency_token=idempotency_token)
    if output == "json":
        options.print_json({"run_id": run.run_id, "number_in_job": run.number_in_job, "daemon": heard})
        return 0
    click.echo(f"run {run.run_id} of {run.job_name} is {run.state}{': ' + run.message if run.message else ''}")
    if not heard:
        click.echo(NOBODY, err=True)
    return 0


@click.command()
@click.argument("job")
@options.home
def pause(job: str, home: Path | None) -> int:
    """Let no tick of JOB count until resume; runs that were started go on."""
    from wfengine.app import Engine

    Engine(home).pause(job)
    click.echo(f"{job} is paused")
    return 0


@click.command()
@click.argument("job", required=False)
@click.option("--clock", is_flag=True, help="Believe the clock after a jump that made the daemon pause all jobs.")
@options.home
def resume(job: str | None, clock: bool, home: Path | None) -> int:
    """Let the ticks of JOB count again from now on."""
    from wfengine.app import Engine

    if clock == (job is not None):
        raise click.UsageError("name a job, or give --clock")
    engine = Engine(home)
    if job is None:
        click.echo("the clock is believed" if engine.believe_clock() else NOBODY)
    else:
        engine.unpause(job)
        click.echo(f"{job} goes on")
    return 0


@click.command()
@click.argument("run_id", metavar="RUN", type=int)
@click.argument("task_key", metavar="[TASK]", required=False)
@options.home
def cancel(run_id: int, task_key: str | None, home: Path | None) -> int:
    """Cancel a run, whichever process executes it; its clean-up tasks still run.

    With TASK only that task is cancelled and the run goes on. A second cancel of a run kills its tasks.
    """
    from wfengine.app import Engine

    what = f"run {run_id}" if task_key is None else f"task {task_key} of run {run_id}"
    heard = Engine(home).cancel(run_id, task_key)
    click.echo(
        f"{what} {'is being cancelled' if heard else 'is executed by nobody now; whoever takes it up cancels it'}"
    )
    return 0


@click.command()
@options.home
@options.output
def jobs(home: Path | None, output: str) -> int:
    """List the jobs that the daemon looks after: last runs, next tick, pauses, errors."""
    import msgspec

    from wfengine.app import Engine
    from wfengine.cli.tables import job_list

    engine = Engine(home)
    found = engine.jobs()
    if output == "json":
        due = engine.next_due([row.name for row in found])
        options.print_json({"jobs": [{**msgspec.to_builtins(row), "next_due": due.get(row.name)} for row in found]})
    elif found:
        job_list(found, engine.next_due([row.name for row in found]))
    else:
        click.echo(f"no jobs in {engine.settings().home}; start a daemon with: wfengine daemon FILE")
    return 0


@click.command()
@options.home
@options.output
def status(home: Path | None, output: str) -> int:
    """Say whether a daemon serves this home, and which runs have not ended."""
    import msgspec

    from wfengine.app import Engine
    from wfengine.cli.tables import run_list

    found = Engine(home).status()
    if output == "json":
        told: dict[str, Any] = {"home": found.home, "daemon": found.daemon, "running": len(found.running)}
        runs = [{"run_id": run.run_id, "job_name": run.job_name, "state": str(run.state)} for run in found.running]
        options.print_json({**told, "runs": msgspec.to_builtins(runs)})
        return 0
    served = f"a daemon with process id {found.daemon} serves" if found.daemon else "no daemon serves"
    click.echo(f"{served} {found.home}; {len(found.running)} runs have not ended")
    if found.running:
        run_list(found.running)
    return 0
