"""Prints the captured output of attempts, also while they run."""

from __future__ import annotations

import codecs
import threading

import click

from wfengine.app import Engine
from wfengine.errors import UsageError
from wfengine.runs import Attempt, JobRun

#: Seconds between two looks at a growing log.
POLL_SECONDS = 0.3
#: Control characters but for tab and newline are shown escaped: a task's output must not steer the terminal.
_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if chr(code) not in "\t\n"}


class Tail:
    """The logs of one run, or of one task of it."""

    def __init__(
        self, engine: Engine, run_id: int, task_key: str | None, attempt: int | None, iteration: int | None
    ) -> None:
        self._engine, self._run_id, self._task, self._attempt = engine, run_id, task_key, attempt
        self._iteration = iteration
        self._offsets: dict[int, int] = {}
        self._last = 0
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}

    def print(self, follow: bool) -> None:
        """Print what there is, and with ``follow`` what comes until everything chosen has ended."""
        while True:
            run = self._engine.run(self._run_id)[0]
            chosen = self._chosen(run)
            for attempt in chosen:
                self._more(attempt, titled=self._task is None or len(chosen) > 1)
            # The state was read before the log, so a log that is complete now was complete when it was printed.
            if not follow or run.state.ended or (self._task and all(a.state.ended for a in chosen)):
                return
            threading.Event().wait(POLL_SECONDS)

    def _chosen(self, run: JobRun) -> list[Attempt]:
        keys = list(dict.fromkeys(attempt.task_key for attempt in run.attempts))
        if self._task is not None and self._task not in keys:
            raise UsageError(f"run {run.run_id} has no task {self._task!r}; it has {', '.join(keys)}")
        found = [a for a in (*run.attempts, *run.iterations) if self._task in (None, a.task_key)]
        if self._iteration is not None:
            found = [a for a in found if a.iteration == self._iteration]
            if not found:
                raise UsageError(f"run {run.run_id} has no iteration {self._iteration} of that task")
        if self._attempt is not None:
            found = [a for a in found if a.attempt_number == self._attempt]
            if not found:
                raise UsageError(f"run {run.run_id} has no attempt {self._attempt} of that task")
        elif self._task is not None:
            found = list({a.unit: a for a in found}.values())
        return sorted((a for a in found if a.start_time is not None), key=lambda a: a.start_time or 0)

    def _more(self, attempt: Attempt, *, titled: bool) -> None:
        """Print what was added to an attempt's log since the last look."""
        path = self._engine.log_path(self._run_id, attempt.task_key, attempt.attempt_number, attempt.iteration)
        try:
            with path.open("rb") as file:
                file.seek(self._offsets.get(attempt.run_id, 0))
                data = file.read()
        except FileNotFoundError:
            return
        if not data:
            return
        self._offsets[attempt.run_id] = self._offsets.get(attempt.run_id, 0) + len(data)
        decoder = self._decoders.setdefault(attempt.run_id, codecs.getincrementaldecoder("utf-8")("replace"))
        if titled and self._last != attempt.run_id:
            click.echo(f"--- {attempt.title}, attempt {attempt.attempt_number} ---")
        self._last = attempt.run_id
        click.echo(decoder.decode(data, attempt.state.ended).translate(_ESCAPED), nl=False)
