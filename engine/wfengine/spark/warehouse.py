"""Where tables are: names, folders and versions, told from the file system alone."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from wfengine.errors import TaskFailed, shown

#: Catalog names that mean the warehouse folder itself; any other catalog is a folder in it.
HOME_CATALOGS = frozenset({"spark_catalog", "hive_metastore", "main", "workspace"})
DEFAULT_SCHEMA = "default"
#: Folder inside a table's folder that holds its lock and its ledger; readers and VACUUM pass over it.
PRIVATE = "_wfengine"

_WORD = "[A-Za-z0-9_]+"
_NAME = re.compile(rf"(?:{_WORD}|`{_WORD}(?:\.{_WORD})*`)(?:\.(?:{_WORD}|`{_WORD}`))*")
_COMMIT = re.compile(r"(?:\d{20}\.)?(\d{20})\.(?:json|compacted\.json|checkpoint\..+|checkpoint)")


class TableName(NamedTuple):
    """A table's place in the warehouse; every part is lower case, as in a catalog."""

    #: Empty for the warehouse itself.
    catalog: str
    schema: str
    table: str

    @property
    def folder(self) -> Path:
        """The table's folder, relative to the warehouse."""
        return Path(self.catalog, self.schema, self.table)

    @property
    def namespace(self) -> str:
        """The schema as an engine with a single catalog knows it; quote it in SQL."""
        return f"{self.catalog}.{self.schema}" if self.catalog else self.schema

    @property
    def quoted(self) -> str:
        """The name as SQL text for an engine with a single catalog."""
        return f"`{self.namespace}`.`{self.table}`"


def parse(name: str, schema: str = DEFAULT_SCHEMA) -> TableName:
    """Read ``table``, ``schema.table`` or ``catalog.schema.table``; parts may stand in backticks.

    ``schema`` is used for a name of one part. Raises TaskFailed for anything but letters, digits and ``_``.
    """
    parts = name.replace("`", "").lower().split(".")
    if not _NAME.fullmatch(name) or len(parts) > 3:
        raise TaskFailed(
            f"{shown(name)!r} is not a table name; write table, schema.table or catalog.schema.table"
            " with letters, digits and _, or a path with a /"
        )
    return resolve(parts, schema)


def resolve(parts: list[str], schema: str = DEFAULT_SCHEMA) -> TableName:
    """Place one to three checked, lower-case name parts in the warehouse."""
    *catalog, space, table = parts if len(parts) > 1 else [*schema.split("."), *parts]
    return TableName("" if not catalog or catalog[0] in HOME_CATALOGS else catalog[0], space, table)


def table_path(warehouse: Path, name: str) -> Path:
    """Return the folder of a table; ``name`` is a table name or, with a ``/`` in it, a path.

    A relative path starts at the warehouse and must stay in it. Raises TaskFailed for a bad name.
    """
    if "/" not in name:
        return warehouse / parse(name).folder
    path = Path(name.removeprefix("file://"))
    if ".." in path.parts or "`" in name or ":/" in name.removeprefix("file://"):
        raise TaskFailed(f"{shown(name)!r} is not a path of a table; write an absolute path without '..'")
    return path if path.is_absolute() else warehouse / path


def version(path: Path) -> int:
    """Return the newest Delta version in ``path``, told by the file names of its log; -1 when there is no table."""
    try:
        names = os.listdir(path / "_delta_log")
    except (FileNotFoundError, NotADirectoryError):
        return -1
    return max((int(match[1]) for name in names if (match := _COMMIT.fullmatch(name))), default=-1)


def exists(path: Path) -> bool:
    """Say whether ``path`` holds a Delta table."""
    return version(path) >= 0
