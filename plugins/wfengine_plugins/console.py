"""Tells on standard error what failed in a run, what did not happen because of it, and where to look."""

from __future__ import annotations

import sys

from wfengine.errors import shown
from wfengine.events import AnyEvent, RunEnded, TaskEnded
from wfengine.runs import ErrorInfo
from wfengine.states import Result

_GOOD = (Result.SUCCESS, Result.SUCCESS_WITH_FAILURES)


class Console:
    """Remembers why tasks failed until their run ends; after a restart it says only what it still knows."""

    def __init__(self) -> None:
        self._errors: dict[int, dict[str, str]] = {}

    def take(self, event: AnyEvent) -> None:
        """Take one event; print when it is the end of a run that did not succeed."""
        if isinstance(event, TaskEnded) and event.result not in _GOOD:
            reason = _reason(event.error) if event.error else event.message
            self._errors.setdefault(event.run_id, {})[event.task_key] = f"{event.result}: {reason}"
        elif isinstance(event, RunEnded):
            errors = self._errors.pop(event.run_id, {})
            if event.result not in _GOOD:
                sys.stderr.write(describe(event, errors))
                sys.stderr.flush()


def describe(event: RunEnded, errors: dict[str, str]) -> str:
    """Write the message for a run that did not succeed; ``errors`` holds what is known by task key."""
    message = f": {shown(event.message, 300)}" if event.message else ""
    lines = [f"run {event.run_id} of job {shown(event.job_name)} ended {event.result}{message}"]
    lines += [f"  {shown(task, 100)} {shown(errors.get(task, 'failed'), 300)}" for task in event.failed_tasks]
    if event.blocked_tasks:
        lines.append(f"  did not run: {', '.join(shown(task, 100) for task in event.blocked_tasks)}")
    lines.append(f"  look: wfengine show {event.run_id}")
    if event.failed_tasks:
        lines.append(f"        wfengine logs {event.run_id} {shown(event.failed_tasks[0], 100)}")
    return "\n".join(lines) + "\n"


def _reason(error: ErrorInfo) -> str:
    """Return the last line of an error, the one that says what happened, and its place."""
    line = error.message.strip().split("\n")[-1] or error.code
    return line + (f" ({error.where})" if error.where else "")
