"""A file's values with their positions: scalars, lists and mappings, before anybody says what they should be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
#: Only these are truth values: `yes`, `no`, `on` and `off` are text.
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")
_LONGEST_INT = 18
_LONGEST_FLOAT = 100


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """One value as text, at its 1-based place."""

    text: str
    #: Written without quotes, so that it may be a number, a truth value or nothing.
    plain: bool
    line: int
    column: int
    #: The file it is written in, as faults name it; empty for what no file says.
    file: str = ""


class Seq(msgspec.Struct):
    """A list at its 1-based place."""

    items: list[Node]
    line: int
    column: int
    file: str = ""


class Map(msgspec.Struct):
    """A mapping at its 1-based place: for each key where it stands and its value, in the order of the file."""

    entries: dict[str, tuple[Scalar, Node]]
    line: int
    column: int
    file: str = ""

    def get(self, key: str) -> Node | None:
        """Return the value of ``key``; None when it is not there."""
        entry = self.entries.get(key)
        return entry[1] if entry else None


Node: TypeAlias = Scalar | Seq | Map


def is_null(node: Node) -> bool:
    """Whether nothing is written there: empty, ``~`` or ``null`` without quotes."""
    return isinstance(node, Scalar) and node.plain and node.text in _NULL


def is_huge(node: Scalar) -> bool:
    """Whether this is a number beyond what a 64-bit number holds for certain."""
    number = _INT.fullmatch(node.text) or _FLOAT.fullmatch(node.text)
    return node.plain and bool(number) and isinstance(natural(node), str)


def natural(node: Scalar) -> str | int | float | bool | None:
    """Read a scalar where any value may stand; what is no JSON number, truth value or null stays text.

    Numbers that are too large stay text as well, see `is_huge`.
    """
    text = node.text
    if not node.plain:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= _LONGEST_INT and _INT.fullmatch(text):
        return int(text)
    if len(text) <= _LONGEST_FLOAT and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def scalars(node: Node, field: str) -> Iterator[tuple[Scalar, str]]:
    """Walk over every value below ``node`` with its dotted field; keys of mappings are not values."""
    if isinstance(node, Scalar):
        yield node, field
    elif isinstance(node, Seq):
        for index, item in enumerate(node.items):
            yield from scalars(item, f"{field}[{index}]")
    elif isinstance(node, Map):
        for key, (_, value) in node.entries.items():
            yield from scalars(value, f"{field}.{key}")


def locate(node: Node, steps: tuple[str | int, ...]) -> Node:
    """Follow ``steps`` down from ``node`` as far as they lead."""
    for step in steps:
        if isinstance(node, Map) and isinstance(step, str) and step in node.entries:
            node = node.entries[step][1]
        elif isinstance(node, Seq) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node
