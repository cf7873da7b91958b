"""Match the header of a file to the columns that are asked for, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from wfengine.errors import TaskFailed, shown
from wfengine_layers.raw.source import RESCUED, RawSource, refuse_added

_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


class Layout(NamedTuple):
    """Which field of a record is which column."""

    #: Data columns in the order of the table, and for each the index of its field; None is null in every row.
    columns: tuple[tuple[str, int | None], ...]
    #: Fields without a declared column, kept in ``_rescued``; None when nothing is declared, so no such column.
    rescued: tuple[tuple[str, int], ...] | None
    #: Number of fields of every record.
    width: int
    warnings: tuple[str, ...] = ()


def from_header(names: Sequence[str], source: RawSource, file: str, separator: str) -> Layout:
    """Lay out a file by its header.

    Raises TaskFailed for a separator that looks wrong, names that are doubled or taken, and declared columns that
    are missing while ``source.missing`` is ``error``.
    """
    _suspect_separator(names, source.columns, file, separator)
    warnings = [f"{file}: column {i + 1} has no name and is called _c{i}" for i, name in enumerate(names) if not name]
    found = [name or f"_c{i}" for i, name in enumerate(names)]
    _refuse_doubles(found, file, same=str if source.columns else str.casefold)
    if source.columns is None:
        refuse_added(found, f"{file}: its header")
        return Layout(tuple((name, i) for i, name in enumerate(found)), None, len(found), tuple(warnings))
    columns = []
    for name in source.columns:
        index = _find(name, found, file)
        columns.append((name, index))
        if index is None and source.missing == "error":
            seen = ", ".join(map(shown, found))
            raise TaskFailed(
                f"{file}: column {shown(name)} is missing; its columns are {seen}. Option missing: null allows it"
            )
        if index is None:
            warnings.append(f"{file}: column {shown(name)} is missing; its rows have null there")
        elif found[index] != name:
            warnings.append(f"{file}: column {shown(found[index])} is taken as {shown(name)}")
    used = {index for _, index in columns}
    extra = tuple((name, i) for i, name in enumerate(found) if i not in used)
    if extra:
        warnings.append(f"{file}: columns {', '.join(shown(name) for name, _ in extra)} are kept in {RESCUED}")
    return Layout(tuple(columns), extra, len(found), tuple(warnings))


def by_position(width: int, source: RawSource) -> Layout:
    """Lay out a file without a header: the declared columns in order, else ``_c0``, ``_c1``..."""
    if source.columns is None:
        return Layout(tuple((f"_c{i}", i) for i in range(width)), None, width)
    return Layout(tuple((name, i) for i, name in enumerate(source.columns)), (), len(source.columns))


def like(name: str) -> str:
    """What two names have in common that are taken as one: without case and outer blanks."""
    return name.strip().casefold()


def _find(name: str, found: Sequence[str], file: str) -> int | None:
    if name in found:
        return found.index(name)
    near = [i for i, other in enumerate(found) if like(other) == like(name)]
    if len(near) > 1:
        raise TaskFailed(
            f"{file}: columns {', '.join(shown(found[i]) for i in near)} could all be {shown(name)}; rename one"
        )
    return near[0] if near else None


def _refuse_doubles(names: Sequence[str], file: str, same: Callable[[str], str]) -> None:
    keys = [same(name) for name in names]
    doubled = list(dict.fromkeys(name for name, key in zip(names, keys, strict=True) if keys.count(key) > 1))
    if doubled:
        raise TaskFailed(f"{file}: its header has these names more than once: {', '.join(map(shown, doubled))}")


def _suspect_separator(names: Sequence[str], declared: Sequence[str] | None, file: str, separator: str) -> None:
    if len(names) != 1 or tuple(names) == tuple(declared or ()):
        return
    for other, word in _SEPARATORS.items():
        if other in names[0] and other != separator:
            raise TaskFailed(
                f"{file}: its header is one column, {shown(names[0])}, but holds {word}; set option sep: {other!r}, or"
                " declare it as the only column of the schema"
            )
