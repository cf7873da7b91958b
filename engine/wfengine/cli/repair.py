"""``wfengine repair``: some tasks of an ended run once more."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wfengine.cli import options

if TYPE_CHECKING:
    from wfengine.repair import RepairPlan


@click.command()
@click.argument("run_id", metavar="RUN", type=int)
@click.option("--failed", is_flag=True, help="Run what failed and what was skipped behind it, and nothing else.")
@click.option("--task", "tasks", multiple=True, metavar="TASK", help="Run this task; may be given several times.")
@click.option("--dependents", is_flag=True, help="Run what depends on these tasks, too.")
@click.option("--param", "parameters", multiple=True, metavar="K=V", help="Another value of a job parameter.")
@click.option("--plan", "only_plan", is_flag=True, help="Only say which tasks would run, which stay, and why.")
@options.variables
@options.target
@options.home
@options.root
@options.output
def repair(
    run_id: int,
    failed: bool,
    tasks: tuple[str, ...],
    dependents: bool,
    parameters: tuple[str, ...],
    only_plan: bool,
    variables: tuple[str, ...],
    target: str | None,
    home: Path | None,
    root: Path | None,
    output: str,
) -> int:
    """Run some tasks of a run that has ended once more, with the job file and the code as they are now.

    Without --failed and --task these are the tasks that did not succeed, those whose code, job parameters or input
    tables have changed since, and what depends on them. The run keeps its id and every attempt stays listed. Exit code
    as of run-once.
    """
    from wfengine import log
    from wfengine.app import Engine
    from wfengine.cli.live import view
    from wfengine.cli.run import finish
    from wfengine.repair import Asked

    text = output == "text"
    log.configure("console", level=logging.WARNING if text else logging.INFO)
    engine = Engine(home, root=root)
    asked = Asked(failed=failed, tasks=tasks, dependents=dependents)
    given, chosen = options.pairs(parameters, "--param"), options.pairs(variables, "--var")
    if only_plan:
        _plan(run_id, engine.plan_repair(run_id, asked, given, variables=chosen, target=target), text)
        return 0
    screen = view(text)
    repaired = engine.repair(
        run_id, asked, given, variables=chosen, target=target, listener=screen.take, progress=screen.progress
    )
    if repaired.active is not None:
        return finish(repaired.active, screen, text)
    if text:
        click.echo(f"run {run_id} is {repaired.run.state}; the daemon repairs it: wfengine show {run_id}")
    else:
        options.print_json({"run_id": run_id, "repair_count": repaired.run.repair_count, "daemon": True})
    return 0


def _plan(run_id: int, plan: RepairPlan, text: bool) -> None:
    import msgspec

    from wfengine.cli.tables import repair_plan

    if text:
        repair_plan(plan)
    else:
        options.print_json({"run_id": run_id, "tasks": [msgspec.to_builtins(task) for task in plan.tasks]})
