"""The engine's answers to one plan, passed on as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

#: What a call ends with that says nothing about whether the plan was executed.
_UNKNOWN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Answers:
    """Iterates over what the engine sends, and tells once when it has executed the plan, or failed to.

    ``ended`` is called with whether it failed; never when the connection broke, for then nobody knows.
    """

    def __init__(self, answers: Any, ended: Callable[[bool], None]) -> None:
        self._answers = answers
        self._ended: Callable[[bool], None] | None = ended

    def __iter__(self) -> Answers:
        return self

    def __next__(self) -> Any:
        try:
            answer = next(self._answers)
        except grpc.RpcError as error:
            if error.code() not in _UNKNOWN:
                self._tell(failed=True)
            raise
        if answer.WhichOneof("response_type") == "result_complete":
            self._tell(failed=False)
        return answer

    def __getattr__(self, name: str) -> Any:
        """Let everything else a call can do be asked of the call itself."""
        return getattr(self._answers, name)

    def _tell(self, *, failed: bool) -> None:
        ended, self._ended = self._ended, None
        if ended:
            ended(failed)
