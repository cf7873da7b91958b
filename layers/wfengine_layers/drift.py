"""Files of one table whose columns differ: what is harmless is merged, what is dangerous is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wfengine.errors import TaskFailed
from wfengine_layers.sentences import listed

#: Groups of types of which one holds the values of the others that come before it.
_WIDENING = (("int8", "int16", "int32", "int64"), ("float", "double"))


def compare(files: Iterable[tuple[str, Mapping[str, str]]], table: Iterable[str]) -> list[str]:
    """Compare each file's columns and types with those of the table and of the files before it.

    A new column is fine: it is null in all other rows. Returns a warning for each file without columns that others
    have. Raises TaskFailed for a name that differs in case only, a type that does not convert without loss, and a file
    that has no column in common with the rest, because it most likely belongs elsewhere.
    """
    known = {column.lower(): (column, "the table") for column in table}
    types: dict[str, tuple[str, str]] = {}
    warnings = []
    for file, columns in files:
        if columns and known and not any(column.lower() in known for column in columns):
            raise TaskFailed(
                f"{file} has no column in common with the table: it has {listed(list(columns))}, "
                f"the table {listed([name for name, _ in known.values()])}; take it out of the source"
            )
        if missing := [name for key, (name, _) in known.items() if key not in {column.lower() for column in columns}]:
            warnings.append(f"{file} has no column {listed(missing)}; its rows have null there")
        for column, kind in columns.items():
            name, where = known.setdefault(column.lower(), (column, file))
            if name != column:
                raise TaskFailed(
                    f"{file} has the column {column}, and {where} has {name}, which is one to a table; rename it "
                    "or declare a schema"
                )
            _refuse_type(file, column, kind, *types.setdefault(column, (kind, file)))
    return warnings


def _refuse_type(file: str, column: str, kind: str, other: str, where: str) -> None:
    if kind != other and not any(kind in group and other in group for group in _WIDENING):
        raise TaskFailed(
            f"column {column} is {kind} in {file} and {other} in {where}; declare a schema that both cast to"
        )
