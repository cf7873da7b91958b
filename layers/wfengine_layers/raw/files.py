"""Find the raw files of a source, tell their format, fingerprint them.

The format of a file is the one declared, else the one its extension tells (before a ``.gz``, ``.zip``, ``.bz2`` or
``.xz``). A file that is named, or found by a pattern with a declared format, is always read. In a folder with a
declared format a file whose extension tells of another format is skipped with a warning, and one whose extension
tells nothing (``.txt`` included) is read. Without a declared format a file whose extension tells nothing is an error
when it is named, and skipped with a warning in a folder.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from wfengine.errors import TaskFailed
from wfengine_layers.raw.decode import texts_of
from wfengine_layers.raw.source import RawFile

FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "text")
_EXTENSIONS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
}
_PACKED = (".gz", ".zip", ".bz2", ".xz")
_FAMILY = {"tsv": "csv", "jsonl": "json"}


def discover(
    source: str | Path,
    format: str | None,  # noqa: A002 - its name in job files
    *,
    warn: Callable[[str], object] = lambda _: None,
) -> list[RawFile]:
    """List the files of a file, a folder (with its subfolders) or a pattern (``**`` allowed), sorted by path.

    Files and folders whose name begins with ``.`` or ``_`` are hidden and skipped below the folder. ``warn`` is given
    a sentence for every other file skipped. Raises TaskFailed with the absolute path when there is no such source,
    when a file named is not readable as any format, and for a folder that is a Delta table; a folder without files
    is an empty list.
    """
    if format is not None and format not in FORMATS:
        raise TaskFailed(f"format {format!r} is not known to the raw reader; known are {', '.join(FORMATS)}")
    path = Path(os.path.abspath(source))
    if path.is_dir():
        found = [(file, _fitting(file, format, warn)) for file in sorted(_walk(path))]
    elif path.exists():
        found = [(path, _named(path, format))]
    elif glob.has_magic(str(path)):
        found = [(file, _matched(file, format, warn)) for file in _matches(path)]
    else:
        raise TaskFailed(f"source {path} does not exist")
    return [RawFile(path=file, format=kind, size=file.stat().st_size) for file, kind in found if kind]


def fingerprint(path: Path) -> str:
    """SHA-256 of the file's bytes in hex; the same content has the same fingerprint wherever it lies."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as stream:
            while block := stream.read(1024 * 1024):
                digest.update(block)
    except OSError as error:
        raise TaskFailed(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def format_of(name: str) -> str | None:
    """Tell the format from a file's name, None when the extension tells nothing."""
    stem, extension = os.path.splitext(name.lower())
    if extension in _PACKED:
        extension = os.path.splitext(stem)[1]
    return _EXTENSIONS.get(extension)


def _walk(folder: Path) -> Iterator[Path]:
    """Every visible regular file below ``folder``; links to folders are not followed, so there are no circles."""
    if (folder / "_delta_log").is_dir():
        raise TaskFailed(f"{folder} is a Delta table, whose files are not all current; declare format: delta")
    for parent, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not _hidden(name)]
        yield from (Path(parent, name) for name in files if not _hidden(name) and Path(parent, name).is_file())


def _unreadable(error: OSError) -> None:
    raise TaskFailed(f"{error.filename} cannot be read: {error.strerror}") from error


def _matches(pattern: Path) -> list[Path]:
    """The visible regular files that match, or an error when the folder before the first wildcard is missing."""
    fixed = pattern
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    if not fixed.is_dir():
        raise TaskFailed(f"source {pattern}: the folder {fixed} does not exist")
    matches = (Path(name) for name in glob.glob(str(pattern), recursive=True))
    visible = (path for path in matches if not any(map(_hidden, path.relative_to(fixed).parts)))
    return sorted({path for path in visible if path.is_file()})


def _hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _named(path: Path, declared: str | None) -> str:
    if not stat.S_ISREG(path.stat().st_mode):
        raise TaskFailed(f"source {path} is neither a file nor a folder")
    kind = _told(path)
    if declared is None and kind is None:
        raise TaskFailed(f"source {path}: its name does not tell the format; declare format ({', '.join(FORMATS)})")
    return _narrow(declared, kind)


def _matched(path: Path, declared: str | None, warn: Callable[[str], object]) -> str | None:
    return _narrow(declared, _told(path)) if declared else _fitting(path, None, warn)


def _fitting(path: Path, declared: str | None, warn: Callable[[str], object]) -> str | None:
    """The format to read a file of a folder as, None when it is skipped."""
    kind = _told(path)
    if declared is None:
        if kind is None:
            warn(f"{path} skipped: its name does not tell a format")
        return kind
    if kind in (None, "text") or _FAMILY.get(kind, kind) == _FAMILY.get(declared, declared):
        return _narrow(declared, kind)
    warn(f"{path} skipped: it is not {declared} by its name")
    return None


def _narrow(declared: str | None, kind: str | None) -> str:
    """A declared ``csv`` or ``json`` leaves it to the extension which of its forms a file has."""
    if declared is None or (kind is not None and _FAMILY.get(kind) == declared):
        return kind or ""
    return declared


def _told(path: Path) -> str | None:
    """The format that the name tells; for ``x.zip`` the one that its members' names tell."""
    kind = format_of(path.name)
    if kind is not None or path.suffix.lower() != ".zip":
        return kind
    try:
        with zipfile.ZipFile(path) as archive:
            kinds = {format_of(info.filename) for info in texts_of(archive)}
    except (zipfile.BadZipFile, OSError) as error:
        raise TaskFailed(f"{path} is damaged or no zip: {error}") from error
    return kinds.pop() if len(kinds) == 1 else None
