"""The error of a guard: a failure of the task in words, and what portable code catches."""

from __future__ import annotations

import re
from typing import Any

from pyspark.errors import AnalysisException

from wfengine.errors import TaskFailed

_CONDITION = re.compile(r"\[(\w+)\] ")


class Refused(TaskFailed, AnalysisException):  # type: ignore[misc]
    """Change the statement as the message says; the engine would have done something else without a word.

    A message that begins with ``[CONDITION]`` has that error condition, as Spark or Delta spells it.
    """

    def __init__(self, message: str) -> None:
        AnalysisException.__init__(self, message)
        self.where = ""
        self._text = message

    def getCondition(self) -> str | None:  # noqa: N802 - the name is PySpark's
        """Return the name of the error condition, None when it is ours alone."""
        match = _CONDITION.match(self._text)
        return match[1] if match else None

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> Any:
        return (Refused, (self._text,))
