"""Tables of the warehouse made known to a session whose catalog lives in memory."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from wfengine.errors import TaskFailed
from wfengine.failpoints import failpoint
from wfengine.spark import sqltext
from wfengine.spark.plans import Server
from wfengine.spark.warehouse import DEFAULT_SCHEMA, HOME_CATALOGS, TableName, exists, parse, resolve


class Catalog:
    """What one session has been told about the warehouse; the folders are the truth, and are told on demand."""

    def __init__(self, warehouse: Path) -> None:
        self.warehouse = warehouse
        self.current = DEFAULT_SCHEMA
        self._schemas: set[str] = set()
        self._tables: set[TableName] = set()
        self._heads: frozenset[str] = frozenset()

    def start(self, server: Server) -> None:
        """Begin a request: look at the folders anew, and first of all move the schema ``default`` to the warehouse."""
        here = self.warehouse.joinpath(*self.current.split("."))
        known = (part for name in self._tables for part in name)
        # A text holds hundreds of names and few tables: only those that begin like one are looked at.
        self._heads = frozenset([*_listed(self.warehouse), *_listed(here), *HOME_CATALOGS, *known])
        if DEFAULT_SCHEMA not in self._schemas:
            server.sql(f"DROP SCHEMA IF EXISTS `{DEFAULT_SCHEMA}` CASCADE")
            self.schema(server, DEFAULT_SCHEMA)

    def path(self, name: TableName) -> Path:
        """Return the folder of a table."""
        return self.warehouse / name.folder

    def schema(self, server: Server, namespace: str) -> None:
        """Make a schema known; ``namespace`` is ``schema`` or ``catalog.schema``."""
        if namespace not in self._schemas:
            folder = self.warehouse.joinpath(*namespace.split("."))
            server.sql(f"CREATE SCHEMA IF NOT EXISTS `{namespace}` LOCATION '{_literal(folder)}'")
            self._schemas.add(namespace)

    def known(self, server: Server, name: TableName) -> bool:
        """Make a table known when its folder holds one, and forgotten when it does not any more."""
        here = exists(self.path(name))
        if here and name not in self._tables:
            self.schema(server, name.namespace)
            # A table that this session created is there already, with the columns of then in another order.
            server.sql(f"DROP TABLE IF EXISTS {name.quoted}")
            location = _literal(self.path(name))
            server.sql(f"CREATE TABLE {name.quoted} USING delta LOCATION '{location}'")
            self._tables.add(name)
        elif not here and name in self._tables:
            server.sql(f"DROP TABLE IF EXISTS {name.quoted}")
            self._tables.discard(name)
        return here

    def target(self, server: Server, text: str) -> TableName:
        """Return the table that is to be written, its schema made known. Raises TaskFailed for a bad name."""
        name = parse(text, self.current)
        self.schema(server, name.namespace)
        self.known(server, name)
        return name

    def renewed(self, name: TableName) -> None:
        """Ask for the table again at its next mention, because a statement is about to create or replace it."""
        self._tables.discard(name)

    def mentioned(self, server: Server, chain: str) -> tuple[TableName | None, str | None]:
        """Return the table that a dotted name in a text begins with, if any, and what to write instead of the name."""
        parts = sqltext.parts(chain)
        folded = [part.lower() for part in parts]
        if folded[0] not in self._heads or not all(
            part.isidentifier() or part.replace("_", "").isalnum() for part in parts
        ):
            return None, None
        for size in (3, 2, 1):
            name = resolve(folded[:size], self.current)
            if len(parts) >= size and self.known(server, name):
                # A name of one part may as well be an alias or a column, so it stays as it is.
                changed = size > 1 and parts[:size] != [*name.namespace.split("."), name.table]
                changed = changed or (size > 1 and bool(name.catalog))
                return name, ".".join([name.quoted, *(f"`{part}`" for part in parts[size:])]) if changed else None
        return None, None

    def all_tables(self, server: Server) -> None:
        """Make every schema and table of the warehouse known, for statements that list them."""
        for folder in sorted(path for depth in ("*", "*/*") for path in self.warehouse.glob(depth) if path.is_dir()):
            parts = [part.lower() for part in folder.relative_to(self.warehouse).parts]
            if any(not part.replace("_", "").isalnum() for part in parts) or exists(folder):
                continue
            for table in sorted(path.name for path in folder.iterdir() if exists(path)):
                self.known(server, resolve([*parts, table.lower()]))

    def drop(self, server: Server, name: TableName) -> None:
        """Drop a table together with its folder; the folder goes at once, its files after."""
        server.sql(f"DROP TABLE {name.quoted}")
        self._tables.discard(name)
        path = self.path(name)
        if path.is_symlink() or not path.is_dir():
            return
        grave = path.with_name(f".dropped-{path.name}-{uuid.uuid4().hex}")
        failpoint("drop.before_rename")
        os.rename(path, grave)
        shutil.rmtree(grave)

    def use(self, server: Server, text: str) -> str:
        """Make a schema the current one and return its name for the server. Raises TaskFailed for a bad name."""
        namespace = self.namespace(text)
        if (self.warehouse / Path(*namespace.split("."))).is_dir() or namespace == DEFAULT_SCHEMA:
            self.schema(server, namespace)
            self.current = namespace
        return namespace

    def use_only(self, server: Server, text: str) -> str:
        """Make a schema known if its folder exists and return its name for the server."""
        current = self.current
        try:
            return self.use(server, text)
        finally:
            self.current = current

    def create(self, server: Server, namespace: str, head: str, rest: str) -> str:
        """Return the statement that creates a schema in the warehouse; its folder is made, so that it lasts."""
        folder = self.warehouse.joinpath(*namespace.split("."))
        if folder.is_dir():
            self.schema(server, namespace)
        folder.mkdir(parents=True, exist_ok=True)
        self._schemas.add(namespace)
        return f"{head}`{namespace}` LOCATION '{_literal(folder)}'{rest}"

    def namespace(self, text: str) -> str:
        """Return ``schema`` or ``catalog.schema`` as the server knows it. Raises TaskFailed for a bad name."""
        parts = [part.lower() for part in sqltext.parts(text)]
        if not 1 <= len(parts) <= 2 or not all(part.replace("_", "").isalnum() for part in parts):
            raise TaskFailed(f"{text!r} is not the name of a schema; write schema or catalog.schema")
        return resolve([*parts, "t"]).namespace


def _literal(path: Path) -> str:
    """Write a path as the inside of a SQL string."""
    return str(path).replace("\\", "\\\\").replace("'", "\\'")


def _listed(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []
