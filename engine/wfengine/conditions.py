"""Conditions: two values compared by the engine itself (docs/semantics.md, section 6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from wfengine.errors import TaskFailed, shown

#: Comparisons of text.
OF_TEXT: dict[str, Callable[[str, str], bool]] = {
    "EQUAL_TO": lambda left, right: left == right,
    "NOT_EQUAL": lambda left, right: left != right,
}
#: Comparisons of numbers.
OF_NUMBERS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "GREATER_THAN": lambda left, right: left > right,
    "GREATER_THAN_OR_EQUAL": lambda left, right: left >= right,
    "LESS_THAN": lambda left, right: left < right,
    "LESS_THAN_OR_EQUAL": lambda left, right: left <= right,
}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def holds(op: str, left: str, right: str) -> bool:
    """Whether ``left op right`` is true; numbers are compared exactly, however long they are.

    Raises TaskFailed, naming the side, when numbers are compared and one side is none.
    """
    if op in OF_TEXT:
        return OF_TEXT[op](left, right)
    if op not in OF_NUMBERS:
        raise TaskFailed(f"condition_task.op: {shown(op)!r} is not one of {', '.join([*OF_TEXT, *OF_NUMBERS])}")
    return OF_NUMBERS[op](_number(op, "left", left), _number(op, "right", right))


def is_number(text: str) -> bool:
    """Whether the text is a number that can be compared."""
    return bool(_NUMBER.fullmatch(text.strip()))


def _number(op: str, side: str, text: str) -> Decimal:
    if not is_number(text):
        raise TaskFailed(f"condition_task.{side}: {shown(text)!r} is not a number, and {op} compares numbers")
    return Decimal(text.strip())
