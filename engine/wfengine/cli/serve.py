"""``wfengine daemon``: schedules and runs jobs until it is told to stop."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

import click

from wfengine.cli import options


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--max-tasks", type=click.IntRange(1), help="Tasks at the same time. [default: the number of cores]")
@click.option("--log", "form", type=click.Choice(["console", "json"]), help="Form of the log on standard error.")
@options.home
@options.root
def daemon(
    files: tuple[Path, ...], max_tasks: int | None, form: str | None, home: Path | None, root: Path | None
) -> int:
    """Look after job files, folders and globs: run each job when it is due, until told to stop.

    It stays in the foreground and logs to standard error. SIGTERM or Ctrl-C lets running tasks go on for a while, then
    stops them, to be repeated by the next daemon; a second one stops them at once. SIGHUP reads all files again.
    """
    from wfengine import log
    from wfengine.app import Engine

    log.configure(form or ("console" if sys.stderr.isatty() else "json"), level=logging.INFO)
    process = Engine(home, root=root).daemon(files, max_tasks=max_tasks)
    handlers = {
        signal.SIGTERM: lambda number, frame: process.stop(),
        signal.SIGINT: lambda number, frame: process.stop(),
        signal.SIGHUP: lambda number, frame: process.reload(force=True),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        process.serve()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
