"""Commands that look at runs."""

from __future__ import annotations

from pathlib import Path

import click

from wfengine.cli import options


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many runs.")
@click.option("--job", help="Only runs of the job of this name.")
@options.home
@options.output
def runs(limit: int, job: str | None, home: Path | None, output: str) -> int:
    """List the newest runs, newest first."""
    import msgspec

    from wfengine.app import Engine
    from wfengine.cli.tables import run_list

    engine = Engine(home)
    found = engine.runs(limit=limit, job=job)
    if output == "json":
        brief = [msgspec.structs.replace(run, attempts=()) for run in found]
        options.print_json({"runs": [_brief(run) for run in msgspec.to_builtins(brief)]})
    elif found:
        run_list(found)
    else:
        click.echo(f"no runs yet in {engine.settings().home}; start one with: wfengine run-once FILE")
    return 0


def _brief(run: dict[str, object]) -> dict[str, object]:
    """Give a run of a list the API's state object instead of the bare words."""
    state = {"life_cycle_state": run.pop("state", "PENDING"), "state_message": run.pop("message", "")}
    if "result" in run:
        state["result_state"] = run.pop("result")
    run.pop("attempts", None)
    return {**run, "state": state}


@click.command()
@click.argument("run_id", metavar="RUN", type=int)
@options.home
@options.output
def show(run_id: int, home: Path | None, output: str) -> int:
    """Show one run: its tasks and attempts, rows, tables with versions, and errors."""
    from wfengine.app import Engine
    from wfengine.cli.tables import run_detail
    from wfengine.jobsapi import run_json

    run, job = Engine(home).run(run_id)
    if output == "json":
        options.print_json(run_json(run, job))
    else:
        run_detail(run, job)
    return 0


@click.command()
@click.argument("run_id", metavar="RUN", type=int)
@click.argument("task_key", metavar="[TASK]", required=False)
@click.option("--attempt", type=click.IntRange(0), help="Which attempt, from 0. [default: the last]")
@click.option("--iteration", type=click.IntRange(0), help="Which iteration of a for_each, from 0. [default: all]")
@click.option("--follow", "-f", is_flag=True, help="Go on printing until the task, or the run, has ended.")
@options.home
def logs(
    run_id: int, task_key: str | None, attempt: int | None, iteration: int | None, follow: bool, home: Path | None
) -> int:
    """Print what the tasks of a run wrote; TASK chooses one."""
    from wfengine.app import Engine
    from wfengine.cli.tail import Tail

    Tail(Engine(home), run_id, task_key, attempt, iteration).print(follow)
    return 0
