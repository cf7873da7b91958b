"""Shows a run while it goes: a table that is redrawn on a terminal, a line per change elsewhere, nothing for JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from wfengine import events
from wfengine.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from wfengine.app import ActiveRun


class Silent:
    """Shows nothing; the base of the views."""

    def take(self, event: events.AnyEvent) -> None:
        """Take in an event of the run."""

    def progress(self, task_key: str, message: dict[str, Any]) -> None:
        """Take in what a running task reports."""

    @contextmanager
    def showing(self, active: ActiveRun) -> Iterator[None]:
        """Show while the block runs."""
        yield


class Lines(Silent):
    """Prints a line for each change; for pipes and log files."""

    def __init__(self) -> None:
        self._clock = ""
        self._width = 8

    @contextmanager
    def showing(self, active: ActiveRun) -> Iterator[None]:
        """Name the run, then print as it goes."""
        self._width = max((len(task.task_key) for task in active.job.tasks), default=8)
        click.echo(f"run {active.run.run_id} of {active.run.job_name}")
        yield

    def take(self, event: events.AnyEvent) -> None:
        """Print the change an event tells of."""
        from wfengine.clock import iso

        if _of_iteration(event):
            return
        clock = iso(event.time)[11:19]
        if isinstance(event, events.TaskStarted):
            again = f" (attempt {event.attempt_number + 1})" if event.attempt_number else ""
            count = f" {event.iterations} iterations" if event.iterations else ""
            self._line(clock, event.task_key, f"RUNNING{count}{again}")
        elif isinstance(event, events.TaskRetrying):
            reason = event.error.message if event.error else ""
            self._line(clock, event.task_key, f"{event.result}, will be retried: {first_line(reason)}")
        elif isinstance(event, events.TaskEnded):
            counts = counted(event.facts)
            tail = f"  {first_line(event.message)}" if event.message else ""
            self._line(
                clock, event.task_key, f"{event.result!s:<10}{options.seconds(event.duration_ms):>8}{counts}{tail}"
            )
        elif isinstance(event, events.TaskSkipped):
            self._line(clock, event.task_key, f"{event.result}  {first_line(event.message)}")

    def _line(self, clock: str, key: str, text: str) -> None:
        click.echo(f"{clock}  {key:<{self._width}}  {text}".rstrip())


class Screen(Silent):
    """Redraws a table of the tasks on a terminal."""

    def __init__(self) -> None:
        self._cells: dict[str, dict[str, str]] = {}
        self._begun: dict[str, int] = {}
        #: Of each for_each how many of its iterations have ended, and how many there are.
        self._counts: dict[str, tuple[int, int]] = {}
        self._active: ActiveRun | None = None

    @contextmanager
    def showing(self, active: ActiveRun) -> Iterator[None]:
        """Draw the table until the run has ended, then take it away; the summary follows."""
        from rich.console import Console
        from rich.live import Live

        self._active = active
        self._cells = {
            task.task_key: {"state": "BLOCKED" if task.depends_on else "PENDING"} for task in active.job.tasks
        }
        with Live(get_renderable=self._table, console=Console(), refresh_per_second=8, transient=True):
            yield

    def take(self, event: events.AnyEvent) -> None:
        """Change the row of the task an event tells of."""
        if _of_iteration(event):
            self._count(event)
        elif isinstance(event, events.TaskStarted):
            self._begun[event.task_key] = event.time
            attempt = f" (attempt {event.attempt_number + 1})" if event.attempt_number else ""
            self._cells[event.task_key] = {"state": f"RUNNING{attempt}"}
            if event.iterations:
                self._counts[event.task_key] = (0, event.iterations)
                self._cells[event.task_key] = {"state": f"RUNNING 0 of {event.iterations:,}"}
        elif isinstance(event, events.TaskRetrying):
            self._begun.pop(event.task_key, None)
            self._cells[event.task_key] = {"state": "WAITING_FOR_RETRY"}
        elif isinstance(event, events.TaskEnded):
            self._begun.pop(event.task_key, None)
            self._cells[event.task_key] = {
                "state": str(event.result),
                "duration": options.seconds(event.duration_ms),
                "read": options.rows(event.facts.rows_read),
                "written": options.rows(event.facts.rows_written),
                "rejected": options.rows(event.facts.rows_rejected),
            }
        elif isinstance(event, events.TaskSkipped):
            self._cells[event.task_key] = {"state": str(event.result)}

    def _count(self, event: events.AnyEvent) -> None:
        """Count an iteration of a for_each that has ended."""
        if isinstance(event, (events.TaskEnded, events.TaskSkipped)):
            done, total = self._counts.get(event.task_key, (0, 0))
            self._counts[event.task_key] = (done + 1, total)
            self._cells[event.task_key]["state"] = f"RUNNING {done + 1:,} of {total:,}"

    def progress(self, task_key: str, message: dict[str, Any]) -> None:
        """Show how far a running task is."""
        told = message.get("progress")
        if isinstance(told, dict) and task_key in self._cells:
            total = f" of {told['total']:,}" if told.get("total") else ""
            self._cells[task_key]["state"] = f"RUNNING {told.get('done', 0):,}{total}"

    def _table(self) -> Table:
        from wfengine.cli.tables import task_table

        assert self._active is not None  # noqa: S101 - set before the table is drawn
        now = self._active.now_ms()
        table = task_table(f"run {self._active.run.run_id} of {self._active.run.job_name}")
        for key, cells in list(self._cells.items()):
            begun = self._begun.get(key)
            duration = options.seconds(now - begun) if begun else cells.get("duration", "")
            table.add_row(
                key,
                styled(cells["state"]),
                duration,
                cells.get("read", ""),
                cells.get("written", ""),
                cells.get("rejected", ""),
            )
        return table


def _of_iteration(event: events.AnyEvent) -> bool:
    """Whether an event is about one iteration of a for_each, which has no row of its own."""
    return getattr(event, "iteration", -1) >= 0


#: Colour of each state's first word.
_COLOURS = {
    "SUCCESS": "green",
    "SUCCESS_WITH_FAILURES": "yellow",
    "RUNNING": "cyan",
    "WAITING_FOR_RETRY": "yellow",
    "FAILED": "bold red",
    "TIMEDOUT": "bold red",
    "INTERNAL_ERROR": "bold red",
    "CANCELED": "magenta",
    "UPSTREAM_FAILED": "red",
    "UPSTREAM_CANCELED": "magenta",
}


def styled(state: str) -> str:
    """Return a state with the markup of its colour."""
    colour = _COLOURS.get(state.split(" ", 1)[0], "dim")
    return f"[{colour}]{state}[/]"


def first_line(text: str, limit: int = 160) -> str:
    """Return the first line of a message, shortened and printable."""
    from wfengine.errors import shown

    return shown(text.strip().split("\n", 1)[0], limit)


def counted(facts: Any) -> str:
    """Write the row counts of an attempt that has any."""
    named = (("in", facts.rows_read), ("out", facts.rows_written), ("rejected", facts.rows_rejected))
    return "".join(f"  {name} {options.rows(number)}" for name, number in named if number is not None)


def view(text: bool) -> Silent:
    """Choose the view: none for JSON, a redrawn table on a terminal, lines elsewhere."""
    if not text:
        return Silent()
    return Screen() if sys.stdout.isatty() else Lines()
