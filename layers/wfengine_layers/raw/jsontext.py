"""Decode JSON objects into texts for a table: nothing is rounded, doubled, or half understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from wfengine.errors import TaskFailed, shown
from wfengine_layers.raw.header import like
from wfengine_layers.raw.source import RESCUED, refuse_added

#: Most different keys that a file without a schema may have.
COLUMN_LIMIT = 10_000


#: Decoded values by column; numbers are the text that was written.
Row = dict[str, Any]


class RefusedError(ValueError):
    """A JSON value that is not fit for a table; the message says why."""


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


class Decoder:
    """Decodes one object after another and learns the columns of the file."""

    def __init__(self, declared: Sequence[str] | None, file: str) -> None:
        self._file = file
        self._strict = _scanner(_single, _no_constant)
        self._loose = _scanner()
        self._declared = declared is not None
        #: Columns in order; with a declared schema no more come.
        self.columns: dict[str, None] = dict.fromkeys(declared or ())
        self._folded = {like(name): name for name in self.columns}
        #: Sentences about keys that were taken as another column.
        self.warnings: dict[str, None] = {}

    def row(self, text: str) -> Row:
        """Decode the text of one object; raises RefusedError."""
        text = text.strip(" \t\r\n")
        try:
            value, end = self._strict(text, 0)
        except StopIteration:
            raise RefusedError("is not JSON") from None
        except json.JSONDecodeError as error:
            raise RefusedError(f"is not JSON: {error.msg} (character {error.pos + 1})") from None
        except RecursionError:
            raise RefusedError("is nested too deeply") from None
        if end != len(text):
            raise RefusedError(f"is not JSON: more text after its end (character {end + 1})")
        return self._placed(value, text)

    def element(self, text: str, start: int) -> tuple[Row | RefusedError, int]:
        """Decode the value that begins at ``start``; gives the row, or why it is none, and where the value ends.

        Raises json.JSONDecodeError where the text is not JSON, or ends too early.
        """
        try:
            try:
                value, end = self._strict(text, start)
                return self._placed(value, text[start:end]), end
            except RefusedError as error:
                return error, self._loose(text, start)[1]
        except StopIteration as stop:
            raise json.JSONDecodeError("expecting a value", text, stop.value) from None

    def _placed(self, value: Any, text: str) -> Row:
        """Put the values of an object under their columns."""
        if type(value) is not dict:
            raise RefusedError("is not a JSON object")
        if "\\u" in text and not _sound(value):
            raise RefusedError("holds half of a surrogate pair, which is no text")
        if value.keys() <= self.columns.keys():
            return value
        if not self._declared:
            _tabular(value)
        row: Row = {}
        rescued: Row = {}
        for key, field in value.items():
            name = key if key in self.columns else self._column(key)
            if name is None or (name != key and (name in value or name in row)):
                rescued[key] = field
            else:
                row[name] = field
        if rescued:
            row[RESCUED] = as_json(rescued)
        return row

    def _column(self, key: str) -> str | None:
        """The column for a key that is none itself: a known one but for its case, a new one, or None."""
        known = self._folded.get(like(key))
        if known is not None:
            self.warnings[f"{self._file}: key {shown(key)} is taken as {shown(known)}"] = None
            return known
        if self._declared:
            return None
        refuse_added([key], self._file)
        if len(self.columns) >= COLUMN_LIMIT:
            raise TaskFailed(f"{self._file} has more than {COLUMN_LIMIT} different keys; declare a schema")
        self.columns[key] = None
        self._folded[like(key)] = key
        return key


def as_text(value: Any) -> str | None:
    """What a decoded value is in a column of texts: strings as they are, everything else as JSON."""
    return value if value is None or isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """Write a decoded value as compact JSON, numbers as they were."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{as_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(as_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _sound(value: Any) -> bool:
    try:
        as_json(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def _scanner(
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None, constant: Callable[[str], Any] | None = None
) -> Callable[[str, int], tuple[Any, int]]:
    """Function that decodes the value at an index of a text and tells where it ends.

    It raises JSONDecodeError, or StopIteration with the index at which a value should begin.
    """
    decoder: Any = json.JSONDecoder(
        object_pairs_hook=pairs, parse_constant=constant, parse_int=_Number, parse_float=_Number
    )
    scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once
    return scan


def _tabular(value: Row) -> None:
    """Refuse keys that no table can have side by side."""
    seen: dict[str, str] = {}
    for key in value:
        if not key:
            raise RefusedError("has an empty key")
        if seen.setdefault(like(key), key) != key:
            raise RefusedError(f"has two keys that are the same to a table: {shown(seen[like(key)])} and {shown(key)}")


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object whose keys are all different."""
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        raise RefusedError(f"has the key {shown(next(key for key in keys if keys.count(key) > 1))} twice")
    return value


def _no_constant(name: str) -> Any:
    raise RefusedError(f"holds {name}, which is not JSON")
