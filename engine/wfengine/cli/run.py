"""``wfengine run-once``: one run, watched live."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import click

from wfengine.cli import options

if TYPE_CHECKING:
    from wfengine.app import ActiveRun
    from wfengine.cli.live import Silent


@click.command(name="run-once")
@options.job_file
@click.option("--param", "parameters", multiple=True, metavar="K=V", help="Value of a job parameter.")
@click.option("--only", multiple=True, metavar="TASK", help="Run only TASK; +TASK adds upstreams, TASK+ downstreams.")
@options.variables
@options.job
@options.target
@click.option("--idempotency-token", metavar="TOKEN", help="The same token never starts a second run.")
@options.home
@options.root
@options.output
def run_once(
    file: Path,
    parameters: tuple[str, ...],
    only: tuple[str, ...],
    variables: tuple[str, ...],
    job: str | None,
    target: str | None,
    idempotency_token: str | None,
    home: Path | None,
    root: Path | None,
    output: str,
) -> int:
    """Run a job file to its end.

    Exit code 0 when the run succeeded, 1 when it failed, 2 for a bad file or bad usage, 3 when the state cannot be
    used, 130 when it was interrupted. Ctrl-C cancels the run, a second one kills its tasks at once.
    """
    from wfengine import log
    from wfengine.app import Engine
    from wfengine.cli.live import view

    text = output == "text"
    log.configure("console", level=logging.WARNING if text else logging.INFO)
    engine = Engine(home, root=root)
    screen = view(text)
    active = engine.start(
        file,
        options.pairs(parameters, "--param"),
        only=only,
        variables=options.pairs(variables, "--var"),
        idempotency_token=idempotency_token,
        job=job,
        target=target,
        listener=screen.take,
        progress=screen.progress,
    )
    return finish(active, screen, text)


def finish(active: ActiveRun, screen: Silent, text: bool) -> int:
    """Execute a run, show it, and return the exit code of the command."""
    if active.run.state.value == "QUEUED":
        click.echo(f"run {active.run.run_id} waits for its turn: {active.run.message}", err=True)
    with interruptible(active) as interruptions, screen.showing(active):
        run = active.wait()
    if not text:
        from wfengine.jobsapi import run_json

        options.print_json(run_json(run, active.job))
    else:
        from wfengine.cli.tables import run_summary

        run_summary(run, active)
    if interruptions and not run.succeeded:
        return 130
    return 0 if run.succeeded else 1


class Cancellable(Protocol):
    """What Ctrl-C stops."""

    def cancel(self) -> None:
        """Stop: the first call politely, the second at once."""
        ...


@contextmanager
def interruptible(active: Cancellable) -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM cancel the run while the block runs; yields the list of the signals that came."""
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        click.echo("killing the tasks" if came else "cancelling; Ctrl-C again kills the tasks", err=True)
        came.append(number)
        active.cancel()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
