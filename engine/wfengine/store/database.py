"""One connection to the state file; the only module that imports sqlite3, and the one that puts its errors in words."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wfengine import home as folders
from wfengine.errors import DiskFullError, StateError
from wfengine.failpoints import failpoint

#: Marks the file as ours ("wfen"), so that another program's database is never taken for an old one of ours.
APPLICATION_ID = 0x7766656E

Row = sqlite3.Row

#: Settings of a file that is thrown away: no journal but for savepoints, 64 MiB of cache, nothing waits for the disk.
_ALONE = ("journal_mode = MEMORY", "synchronous = OFF", "cache_size = -65536", "temp_store = MEMORY")
_NONE: Mapping[str, Any] = {}


@cache
def statements() -> Mapping[str, str]:
    """Return the named statements of ``store.sql``."""
    text = (resources.files(__package__) / "store.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@cache
def migrations() -> tuple[str, ...]:
    """Return the scripts that bring the schema from version 0 to the newest, in order."""
    folder = resources.files(__package__) / "migrations"
    scripts = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(script.read_text(encoding="utf-8") for script in scripts)


@cache
def _setting(statement: str, changes: str) -> str:
    return statements()[statement].replace("/* changes */", changes)


class Database:
    """A connection to one state file; used by one thread at a time."""

    def __init__(self, path: Path, *, wait: float, durable: bool = True, alone: bool = False) -> None:
        """Open the existing file ``path``; an older schema is brought up to date, nothing else is written.

        ``wait`` is the number of seconds to wait for another writer. With ``durable`` false the last commits may be
        lost in a power cut (never the file's integrity); with ``alone`` the file is thrown away with this process, and
        may be broken by a crash. Raises StateError in every case of a file that cannot be used.
        """
        self.path = path
        #: Whether no other process and no subscriber ever looks at the file.
        self.alone = alone
        self._wait = wait
        self._statements = statements()
        with self._in_words():
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=rw",
                uri=True,
                timeout=wait,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            self._connection.row_factory = Row
            self._file = _identity(path)
            self._bring_up_to_date()
            with self._in_words():
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._connection.execute("PRAGMA foreign_keys = ON")
                for setting in _ALONE if alone else ():
                    self._connection.execute(f"PRAGMA {setting}").fetchone()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection; what was not committed is gone."""
        self._connection.close()

    def still_there(self) -> bool:
        """Whether the path still names the file that was opened."""
        return self._file is not None and _identity(self.path) == self._file

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Return all rows of a named query."""
        try:
            return self._connection.execute(self._statements[statement], values).fetchall()
        except sqlite3.Error as error:
            raise self._worded(error) from error

    def each(self, statement: str, **values: Any) -> Iterator[Row]:
        """Yield the rows of a named query one by one, however many there are; inside ``reading``."""
        with self._in_words():
            yield from self._connection.execute(self._statements[statement], values)

    def row(self, statement: str, **values: Any) -> Row | None:
        """Return the first row of a named query, None when there is none."""
        rows = self.rows(statement, **values)
        return rows[0] if rows else None

    def change(self, statement: str, **values: Any) -> int:
        """Execute a named statement inside ``writing``; return the number of rows it changed."""
        return self._execute(self._statements[statement], values).rowcount

    def change_columns(self, statement: str, columns: Mapping[str, Any], **key: Any) -> int:
        """Execute a named statement that sets just these columns, as ``change`` does; names come from code alone."""
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        return self._execute(_setting(statement, changes), {**columns, **key}).rowcount

    def change_many(self, statement: str, values: Sequence[Mapping[str, Any]]) -> None:
        """Execute a named statement once for each mapping, inside ``writing``."""
        with self._in_words():
            self._connection.executemany(self._statements[statement], values)

    def writing(self) -> AbstractContextManager[None]:
        """Hold the write lock for the block and commit it as one; whatever is raised undoes all of it.

        Inside another such block it is committed with that one.
        """
        return self._nested() if self._connection.in_transaction else self._transaction("BEGIN IMMEDIATE")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the queries of the block see one and the same moment; takes no lock that a writer waits for."""
        if self._connection.in_transaction:
            yield
            return
        with self._transaction("BEGIN"):
            yield

    @contextmanager
    def without_references(self) -> Iterator[None]:
        """Let the transactions of the block remove rows without a look for what refers to them."""
        self._execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            self._execute("PRAGMA foreign_keys = ON")

    def shrink(self) -> None:
        """Give the space of removed rows back to the disk; writers wait meanwhile."""
        self._execute("VACUUM")
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy_to(self, path: Path) -> None:
        """Copy one moment of all that is committed into the empty file ``path``; writers go on meanwhile."""
        with self._in_words(), closing(sqlite3.connect(path, isolation_level=None)) as target:
            self._connection.backup(target)

    def faults(self) -> list[str]:
        """Return what SQLite finds wrong in the file itself; empty when it is sound."""
        with self._in_words():
            found = [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else found

    @contextmanager
    def _nested(self) -> Iterator[None]:
        self._execute("SAVEPOINT nested")
        try:
            yield
        except BaseException:
            # As below: it may be undone already, together with what is around it.
            if self._connection.in_transaction:
                self._execute("ROLLBACK TO nested")
                self._execute("RELEASE nested")
            raise
        self._execute("RELEASE nested")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._execute(begin)
        writes = begin != "BEGIN"
        try:
            yield
            if writes:
                failpoint("store.before_commit")
            self._execute("COMMIT")
            if writes:
                failpoint("store.after_commit")
        except BaseException:
            # SQLite has already undone it after some errors, a full disk among them.
            if self._connection.in_transaction:
                self._execute("ROLLBACK")
            raise

    def _execute(self, sql: str, values: Mapping[str, Any] = _NONE) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise self._worded(error) from error

    def _bring_up_to_date(self) -> None:
        if self._version() == len(migrations()):
            return
        try:
            lock = folders.FileLock.wait(self.path.parent)
        except OSError as error:
            raise StateError(f"cannot lock {self.path.parent}: {error.strerror or error}") from error
        try:
            # Read again: another process may have done it meanwhile.
            for number in range(self._version() + 1, len(migrations()) + 1):
                self._migrate(number)
        finally:
            lock.release()

    def _version(self) -> int:
        # In one transaction: another process may be making the tables between two looks.
        with self._in_words(), self._transaction("BEGIN"):
            empty = not self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
            application: int = self._connection.execute("PRAGMA application_id").fetchone()[0]
        if application != APPLICATION_ID and not (empty and version == 0):
            raise StateError(f"{self.path} is the database of another program: use another home")
        if version > len(migrations()):
            raise StateError(
                f"{self.path} was written by a newer wfengine (schema {version}, this one knows {len(migrations())}): "
                "upgrade wfengine or use another home"
            )
        return version

    def _migrate(self, number: int) -> None:
        with self._in_words():
            mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StateError(f"the file system of {self.path} cannot carry it safely: put the home on a local disk")
            failpoint("store.before_migration")
            try:
                self._connection.executescript(
                    f"BEGIN IMMEDIATE;\n{migrations()[number - 1]}\nPRAGMA application_id = {APPLICATION_ID};\n"
                    f"PRAGMA user_version = {number};\nCOMMIT;"
                )
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            failpoint("store.after_migration")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._worded(error) from error

    def _worded(self, error: sqlite3.Error) -> StateError:
        if isinstance(error, sqlite3.IntegrityError):
            return StateError(f"{self.path} refused a change: {error}")
        return _in_words(str(error), self.path, self._wait)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _in_words(message: str, path: Path, wait: float) -> StateError:
    """Say what SQLite reports; by its messages, because Python 3.10 does not give its error codes."""
    if "disk is full" in message:
        return DiskFullError(f"the disk of {path} is full: free some space; nothing was changed")
    if "locked" in message:
        return StateError(f"another process has been writing {path} for more than {wait:g} s: stop it or try again")
    if "not a database" in message or "malformed" in message or "encrypted" in message:
        return StateError(
            f"{path} is damaged or not a wfengine state: restore it from a backup, or move it and the folder runs "
            "beside it away to start anew"
        )
    if "readonly" in message or "unable to open" in message:
        return StateError(f"{path} cannot be written: check the permissions of the file and of its folder")
    return StateError(f"{path} cannot be used: {message}")
