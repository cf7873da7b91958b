"""Which files of the file system are job files."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

SUFFIXES = (".yml", ".yaml", ".json")
#: Larger files are no job files; the reader refuses them.
MAX_BYTES = 32 * 1024 * 1024

#: Keys that only job files and bundles have at the top of a YAML file.
_BLOCK = re.compile(rb"^[\"']?(?:tasks|resources|bundle)[\"']?\s*:", re.MULTILINE)
#: The settings of a job, as ``databricks jobs get`` wraps them.
_WRAPPED = re.compile(rb"^[\"']?settings[\"']?\s*:", re.MULTILINE)
#: The same keys anywhere: in JSON, in a YAML file that begins with ``{``, or below ``settings``.
_INSIDE = re.compile(rb"[\"'{,\s](?:tasks|resources|bundle)[\"']?\s*:")


class Stamp(NamedTuple):
    """What changes when a file is written to or replaced."""

    modified_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """Take the stamp from a file's status."""
        return cls(found.st_mtime_ns, found.st_size, found.st_ino)


class Found(msgspec.Struct):
    """The files that may be job files, and what could not be looked at."""

    #: Stamp of each file by absolute path.
    files: dict[str, Stamp] = {}
    #: Files that were named one by one, so that they must be job files.
    named: set[str] = set()
    #: What is wrong with a source or a folder below it, by path.
    faults: dict[str, str] = {}
    #: Folders that are there but could not be listed; nothing is known about the files below them.
    unknown: list[str] = []

    def below_unknown(self, path: str) -> bool:
        """Say whether ``path`` lies in a folder that could not be listed."""
        return any(path == folder or path.startswith(folder + os.sep) for folder in self.unknown)


def find(sources: Sequence[Path]) -> Found:
    """Look for job files: ``sources`` are files, folders with everything below them, and globs.

    Hidden files and folders are passed over, and so is everything that does not end in .yml, .yaml or .json unless it
    was named. Raises nothing: what cannot be looked at is among the faults.
    """
    found = Found()
    for source in sources:
        path = os.path.abspath(source)
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            _matches(path, found)
        except OSError as error:
            _unknown(path, error, found)
        else:
            if stat.S_ISDIR(status.st_mode):
                _walk(path, found)
            else:
                found.files[path] = Stamp.of(status)
                found.named.add(path)
    return found


def stamps(patterns: Sequence[str]) -> dict[str, Stamp]:
    """Return the stamp of each file that the absolute paths and globs ``patterns`` name now."""
    found = Found()
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)}):
        _add(path, found)
    return found.files


def is_candidate(name: str) -> bool:
    """Say whether a file of this name can be a job file: not hidden, and no editor's backup or temporary file."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def looks_like_job(content: bytes) -> bool:
    """Say whether the text has the keys of a job file, even when it cannot be read as a whole."""
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(content) > MAX_BYTES:
        return False
    if text.startswith(b"{") or _WRAPPED.search(text):
        return _INSIDE.search(text) is not None
    return _BLOCK.search(text) is not None


def folder_of(source: Path) -> tuple[str, bool]:
    """Return the folder in which a source can change, and whether the folders below it count too."""
    path = os.path.abspath(source)
    if os.path.isdir(path):
        return path, True
    if not glob.has_magic(path) or os.path.exists(path):
        return os.path.dirname(path), False
    fixed = path
    while glob.has_magic(fixed):
        fixed = os.path.dirname(fixed)
    return fixed, os.path.dirname(path) != fixed


def _matches(pattern: str, found: Found) -> None:
    matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else None
    if matches is None:
        found.faults[pattern] = f"{pattern}: there is no such file or folder"
    elif not matches:
        found.faults[pattern] = f"{pattern}: matches no file"
    for path in matches or ():
        if os.path.isdir(path):
            _walk(path, found)
        elif is_candidate(os.path.basename(path)):
            _add(path, found)


def _add(path: str, found: Found) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return  # gone since it was listed, or a link that leads nowhere
    except OSError as error:
        _unknown(path, error, found)
        return
    if stat.S_ISREG(status.st_mode):
        found.files.setdefault(path, Stamp.of(status))


def _walk(top: str, found: Found) -> None:
    """Add the candidates below ``top``; links to folders are not followed, so that there is no way round in circles."""
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except FileNotFoundError:
            continue  # gone since it was listed
        except OSError as error:
            _unknown(folder, error, found)
            continue
        for entry in visible:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif is_candidate(entry.name):
                _add(entry.path, found)


def _unknown(path: str, error: OSError, found: Found) -> None:
    found.faults[path] = f"{path}: cannot be read: {error.strerror or error}"
    found.unknown.append(path)
