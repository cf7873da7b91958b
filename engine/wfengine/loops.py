"""The loop of a for_each: what it goes over, which iteration is next, and how all of them came out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from wfengine.errors import TaskFailed, listed, shown
from wfengine.states import Result

#: Inputs that one for_each may have.
MOST_INPUTS = 5000


def inputs_of(given: Any) -> list[Any]:
    """Return the inputs of a for_each, written as a list or as the text of a JSON array.

    Raises TaskFailed, naming the value, when it is neither or has more than `MOST_INPUTS` elements.
    """
    found = given
    if isinstance(given, str):
        try:
            found = json.loads(given)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, list):
        raise TaskFailed(f"for_each_task.inputs: {shown(given)!r} is not a JSON array")
    if len(found) > MOST_INPUTS:
        raise TaskFailed(f"for_each_task.inputs: has {len(found)} elements; at most {MOST_INPUTS} are allowed")
    return found


class Loop:
    """The iterations of one for_each, numbered from 0 as its inputs are."""

    def __init__(self, inputs: list[Any], concurrency: int) -> None:
        """``concurrency`` is the number of iterations that may be going at the same time."""
        self.inputs = inputs
        self._concurrency = concurrency
        self._results: dict[int, Result] = {}
        self._going: set[int] = set()
        self._waiting = deque(range(len(inputs)))

    def resume(self, results: Mapping[int, Result], going: Collection[int]) -> None:
        """Take up a loop of which these iterations have ended and these are going."""
        self._results, self._going = dict(results), set(going)
        self._waiting = deque(n for n in range(len(self.inputs)) if n not in results and n not in self._going)

    def next(self) -> list[int]:
        """Return the iterations that may start now; from then on they are going."""
        count = min(self._concurrency - len(self._going), len(self._waiting))
        found = [self._waiting.popleft() for _ in range(count)]
        self._going.update(found)
        return found

    def end(self, number: int, result: Result) -> None:
        """Note how an iteration ended."""
        self._going.discard(number)
        self._results[number] = result

    def drop(self) -> list[int]:
        """Give up the iterations that have not started and return them."""
        dropped = list(self._waiting)
        self._waiting.clear()
        self._results.update(dict.fromkeys(dropped, Result.CANCELED))
        return dropped

    @property
    def going(self) -> list[int]:
        """The iterations that have started, retries that wait included, and have not ended."""
        return sorted(self._going)

    @property
    def done(self) -> bool:
        """Whether every iteration has ended."""
        return not self._going and not self._waiting

    def verdict(self) -> tuple[Result, str]:
        """Return the result of the for_each, and what is to be said about it, once it is done."""
        bad = [str(number) for number, result in sorted(self._results.items()) if result is not Result.SUCCESS]
        total = len(self.inputs)
        if bad:
            return Result.FAILED, f"{len(bad)} of {total} iterations did not succeed: {listed(bad, 10)}"
        return Result.SUCCESS, f"{total} iterations"
