"""``wfengine backfill``: a run for each step of a range."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wfengine.cli import options

if TYPE_CHECKING:
    from wfengine.app.backfilling import Step


@click.command()
@options.job_file
@click.option("--from", "start", required=True, metavar="ISO", help="First step: 2026-01-01 or 2026-01-01T06:00, UTC.")
@click.option("--to", "end", required=True, metavar="ISO", help="Last step, included.")
@click.option("--step", default="1d", show_default=True, metavar="STEP", help="Time between steps: 1d, 12h, 30m, 1w.")
@click.option("--param", "parameters", multiple=True, metavar="K=V", help="Value of a job parameter.")
@click.option("--only", multiple=True, metavar="TASK", help="Run only TASK; +TASK adds upstreams, TASK+ downstreams.")
@click.option("--parallel", type=click.IntRange(1, 100), default=1, show_default=True, help="Runs at the same time.")
@click.option("--stop-on-failure", is_flag=True, help="Begin no further run once one has failed.")
@click.option("--again", is_flag=True, help="Repair the runs of steps that failed before.")
@click.option("--name", default="", metavar="NAME", help="Name by which the runs are found again. [default: made]")
@options.variables
@options.job
@options.target
@options.home
@options.root
@options.output
def backfill(
    file: Path,
    start: str,
    end: str,
    step: str,
    parameters: tuple[str, ...],
    only: tuple[str, ...],
    parallel: int,
    stop_on_failure: bool,
    again: bool,
    name: str,
    variables: tuple[str, ...],
    job: str | None,
    target: str | None,
    home: Path | None,
    root: Path | None,
    output: str,
) -> int:
    """Run a job once for each step of a range, as of that instant: {{backfill.iso_date}} is the step's date.

    The same command goes on where it was stopped: what succeeded is not run again. Exit code 0 when every step has
    succeeded, else 1; 130 when it was interrupted.
    """
    from wfengine import backfill as steps
    from wfengine import log
    from wfengine.app import Engine
    from wfengine.app.backfilling import Range
    from wfengine.cli.run import interruptible

    text = output == "text"
    log.configure("console", level=logging.WARNING if text else logging.INFO)
    wanted = Range(
        instants=steps.instants(steps.instant(start), steps.instant(end), steps.length(step)),
        parallel=parallel,
        stop_on_failure=stop_on_failure,
        again=again,
        name=name,
    )
    active = Engine(home, root=root).backfill(
        file,
        wanted,
        options.pairs(parameters, "--param"),
        only=only,
        variables=options.pairs(variables, "--var"),
        job=job,
        target=target,
        told=_tell if text else lambda step: None,
    )
    if active.range.parallel < parallel:
        click.echo(f"{active.range.parallel} at a time: that is the job's max_concurrent_runs", err=True)
    with interruptible(active) as interruptions:
        done = active.wait()
    return _summary(active.job.name, done, text, bool(interruptions))


def _tell(step: Step) -> None:
    """Print how far a step is."""
    from wfengine.cli.live import first_line
    from wfengine.clock import iso

    message = f"  {first_line(step.message)}" if step.message and not step.succeeded else ""
    before = "" if step.executed else "  (before)"
    took = f"  {options.seconds(step.duration_ms)}" if step.duration_ms is not None else ""
    state = step.result or ("STARTED" if step.state.value in ("PENDING", "RUNNING") and step.executed else step.state)
    click.echo(f"{iso(step.at)[:19]}Z  run {step.run_id}  {state}{took}{before}{message}")


def _summary(job: str, done: list[Step], text: bool, interrupted: bool) -> int:
    import msgspec

    from wfengine.clock import iso

    good = sum(step.succeeded for step in done)
    left = sum(step.run_id is None for step in done)
    bad = len(done) - good - left
    if text:
        click.echo(f"{job}: {good} of {len(done)} steps succeeded, {bad} did not, {left} were not begun")
        for step in [step for step in done if step.run_id and not step.succeeded][:5]:
            click.echo(f"  wfengine show {step.run_id}")
    else:
        steps = [{"iso_datetime": iso(step.at), **msgspec.to_builtins(step)} for step in done]
        options.print_json({"job": job, "succeeded": good, "failed": bad, "not_begun": left, "steps": steps})
    if good == len(done):
        return 0
    return 130 if interrupted else 1
