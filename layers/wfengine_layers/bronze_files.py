"""Which files a bronze table holds already, which are new, and which an unfinished batch was to hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from wfengine.errors import TaskFailed, relative
from wfengine_layers.raw import RawFile, fingerprint

if TYPE_CHECKING:
    from wfengine.spark.ledger import Batch


class Print(msgspec.Struct, frozen=True):
    """A file's identity: the same path with other content is another file."""

    #: Relative to the project's root when it lies in it, so that the project can be moved.
    path: str
    size: int
    sha256: str
    format: str


class Checked(NamedTuple):
    """The files of an unfinished batch, as they are now."""

    #: Unchanged since they were planned.
    there: list[tuple[RawFile, Print]]
    #: Gone or changed, so that what was planned cannot be read again.
    lost: list[Print]


def printed(files: Iterable[RawFile], root: Path) -> list[tuple[RawFile, Print]]:
    """Fingerprint the content of files."""
    return [(file, Print(relative(file.path, root), file.size, fingerprint(file.path), file.format)) for file in files]


def ingested(batches: Mapping[str, Batch]) -> list[Print]:
    """Return the files whose records are in the table: those confirmed since the table was last replaced."""
    found: list[Print] = []
    for batch in batches.values():
        if not batch.done or batch.result.get("superseded"):
            continue
        if batch.data["mode"] == "full":
            found = []
        found += _prints(batch.result["files"])
    return found


def fresh(files: list[tuple[RawFile, Print]], known: list[Print]) -> tuple[list[tuple[RawFile, Print]], list[str]]:
    """Return the files to ingest, with a warning for each whose content is there under another name.

    Such a file is ingested all the same: two deliveries may well be equal, and nothing may be lost.
    """
    seen = {(one.path, one.size, one.sha256) for one in known}
    by_content = {one.sha256: one.path for one in known if one.size}
    new, warnings = [], []
    for file, one in files:
        if (one.path, one.size, one.sha256) in seen:
            continue
        if one.sha256 in by_content:
            warnings.append(f"{one.path} has the same content as {by_content[one.sha256]}; both are ingested")
        elif one.size:
            by_content[one.sha256] = one.path
        new.append((file, one))
    return new, warnings


def planned(batch: Batch, root: Path) -> Checked:
    """Look at the files of an unfinished batch again."""
    there, lost = [], []
    for one in _prints(batch.data["files"]):
        path = root / one.path
        try:
            same = path.is_file() and path.stat().st_size == one.size and fingerprint(path) == one.sha256
        except (OSError, TaskFailed):
            same = False
        if same:
            there.append((RawFile(path=path, format=one.format, size=one.size), one))
        else:
            lost.append(one)
    return Checked(there, lost)


def plain(prints: Iterable[Print]) -> list[dict[str, Any]]:
    """Turn identities into what a ledger holds."""
    return [msgspec.to_builtins(one) for one in prints]


def _prints(data: Any) -> list[Print]:
    return msgspec.convert(data, list[Print])
