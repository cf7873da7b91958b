"""Changes to one run, committed together: legal transitions only, each told by the events stored with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wfengine.errors import StateError
from wfengine.events import AnyEvent
from wfengine.runs import ErrorInfo, Facts, Fingerprint
from wfengine.states import LEGAL, LifeCycle, Result
from wfengine.store.database import Database, Row
from wfengine.store.outbox import Outbox
from wfengine.store.rows import encode_or_null


class Tx:
    """An open transaction on one run; a field left None keeps its value."""

    def __init__(
        self, database: Database, run_id: int, subscribers: Sequence[str], last_event: int | None = None
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._subscribers = subscribers
        self._outbox = Outbox(database)
        #: Number of the newest event; None until it is looked up.
        self._last_event = last_event

    def attempt(
        self,
        task_run_id: int,
        expect: LifeCycle,
        *,
        state: LifeCycle | None = None,
        result: Result | None = None,
        message: str | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
        not_before: int | None = None,
        outcome: str | None = None,
        error: ErrorInfo | None = None,
        facts: Facts | None = None,
        resolved: Mapping[str, Any] | None = None,
        output: Any = None,
        values: Mapping[str, Any] | None = None,
        pid: int | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> None:
        """Change an attempt that is in the state ``expect``; the pid is forgotten when it ends.

        Raises StateError, naming both states, when it is in another or may not go to ``state`` from there.
        """
        columns = {
            "state": state and state.value,
            "result": result and result.value,
            "message": message,
            "start_time": start_time,
            "end_time": end_time,
            "not_before": not_before,
            "outcome": outcome,
            "pid": pid,
            "error": encode_or_null(error),
            "facts": encode_or_null(facts),
            "resolved": encode_or_null(resolved),
            "output": encode_or_null(output),
            "task_values": encode_or_null(values),
            "fingerprint": encode_or_null(fingerprint),
        }
        changes = _changes(f"attempt {task_run_id} of run {self._run_id}", expect, columns)
        if state is not None and state.ended:
            changes["pid"] = None
        key = {"task_run_id": task_run_id, "run_id": self._run_id}
        if not self._database.change_columns("change_attempt", changes, expect=expect.value, **key):
            row = self._database.row("attempt_state", **key)
            raise _surprise(f"attempt {task_run_id} of run {self._run_id}", row, expect)

    def add_attempt(
        self,
        task_key: str,
        attempt_number: int,
        state: LifeCycle,
        not_before: int | None = None,
        *,
        iteration: int = -1,
    ) -> int:
        """Add a further attempt of a task, or of an iteration, and return its id.

        Raises StateError unless the number is the next one.
        """
        place = self._database.row("task_place", run_id=self._run_id, task_key=task_key, iteration=iteration)
        if place is None or attempt_number != place["last"] + 1:
            raise StateError(f"run {self._run_id} can have no attempt {attempt_number} of task {task_key!r}")
        task_run_id = take_ids(self._database, 1)
        self._database.change(
            "add_attempt",
            task_run_id=task_run_id,
            run_id=self._run_id,
            position=place["position"],
            task_key=task_key,
            iteration=iteration,
            attempt_number=attempt_number,
            state=state.value,
            not_before=not_before,
        )
        return task_run_id

    def add_iterations(self, task_key: str, attempt_numbers: Mapping[int, int]) -> int:
        """Add an attempt of each iteration named, with that number; return the id of the first, the others follow."""
        place = self._database.row("task_place", run_id=self._run_id, task_key=task_key, iteration=-1)
        if place is None:
            raise StateError(f"run {self._run_id} has no task {task_key!r}")
        first = take_ids(self._database, len(attempt_numbers))
        self._database.change_many(
            "add_attempt",
            [
                {
                    "task_run_id": first + index,
                    "run_id": self._run_id,
                    "position": place["position"],
                    "task_key": task_key,
                    "iteration": iteration,
                    "attempt_number": attempt_number,
                    "state": LifeCycle.PENDING.value,
                    "not_before": None,
                }
                for index, (iteration, attempt_number) in enumerate(attempt_numbers.items())
            ],
        )
        return first

    def drop_waiting(self) -> None:
        """Forget the attempts that never began."""
        self._database.change("drop_waiting", run_id=self._run_id)

    def run(
        self,
        expect: LifeCycle,
        *,
        state: LifeCycle | None = None,
        result: Result | None = None,
        message: str | None = None,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> None:
        """Change the run itself, which is in the state ``expect``; raises StateError as ``attempt`` does."""
        columns = {
            "state": state and state.value,
            "result": result and result.value,
            "message": message,
            "start_time": start_time,
            "end_time": end_time,
        }
        changes = _changes(f"run {self._run_id}", expect, columns)
        if not self._database.change_columns("change_run", changes, run_id=self._run_id, expect=expect.value):
            row = self._database.row("run_state", run_id=self._run_id)
            raise _surprise(f"run {self._run_id}", row, expect)

    def event(self, event: AnyEvent) -> None:
        """Store what happened, to be logged and delivered after the commit."""
        if self._database.alone:
            return
        if self._last_event is None:
            row = self._database.row("last_event", run_id=self._run_id)
            self._last_event = row["number"] if row else 0
        self._last_event += 1
        self._outbox.add(event, self._run_id, self._last_event, self._subscribers)


def take_ids(database: Database, count: int) -> int:
    """Take ``count`` ids in a row from the home's counter and return the first, inside a transaction."""
    database.change("take_ids", count=count)
    row = database.row("next_id")
    if row is None:
        raise StateError(f"{database.path} is damaged: it has no counter")
    return int(row["next"]) - count


def _changes(what: str, expect: LifeCycle, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns to set, the state always among them; StateError when it may not follow ``expect``."""
    state = columns["state"]
    if state is not None and state not in LEGAL[expect]:
        raise StateError(f"{what} cannot go from {expect} to {state}")
    return {"state": expect.value} | {name: value for name, value in columns.items() if value is not None}


def _surprise(what: str, row: Row | None, expect: LifeCycle) -> StateError:
    if row is None:
        return StateError(f"there is no {what}")
    return StateError(f"{what} is {row['state']}, not {expect} as expected; nothing was changed")
