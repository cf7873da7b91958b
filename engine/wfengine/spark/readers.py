"""What is checked before the default engine reads files: it answers many mistakes with an empty frame."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wfengine.spark.refusal import Refused
from wfengine.spark.warehouse import exists

#: Above this size the engine reads a file of the format ``binaryFile`` twice.
_BINARY_LIMIT = 16 * 1024 * 1024
_TEXT_FORMATS = ("csv", "json", "text")


def absolute(text: str, base: Path) -> str:
    """Return a path of this machine in full; relative ones start at ``base``, other schemes stay as they are."""
    if "://" in text and not text.startswith("file://"):
        return text
    plain = text.removeprefix("file://").removeprefix("file:")
    return str(Path(os.path.normpath(base / plain))) + ("/" if plain.endswith("/") and plain != "/" else "")


def is_local(text: str) -> bool:
    """Say whether a path is on this machine."""
    return "://" not in text


def prepare(source: Any, base: Path, warn: Callable[[str, str], None]) -> None:
    """Check and complete one ``Read.DataSource``: format, absolute paths, missing paths, options that are ignored.

    Raises Refused.
    """
    if not source.format:
        source.format = "delta"
    kind = source.format.lower()
    options = {key.lower(): key for key in source.options}
    paths = [absolute(path, base) for path in source.paths]
    del source.paths[:]
    source.paths.extend(paths)
    if "path" in options and kind in ("delta", "parquet", "binaryfile", *_TEXT_FORMATS):
        source.options[options["path"]] = absolute(source.options[options["path"]], base)
        paths = [*paths, source.options[options["path"]]]
    local = [path for path in paths if is_local(path)]
    for path in local:
        _refuse_missing(path, kind, has_schema=bool(source.schema))
    _refuse_ignored(kind, {key: source.options[name] for key, name in options.items()}, local)
    if kind in ("csv", "json"):
        warn(
            f"read {kind}",
            f"spark.read.{kind} fails on dirty records or changes them on this engine; a bronze_task does not",
        )


def _refuse_missing(path: str, kind: str, *, has_schema: bool) -> None:
    found = sorted(glob.glob(path)) if any(mark in path for mark in "*?[{") and not os.path.exists(path) else [path]
    if "{" in path and not os.path.exists(path):
        return
    if not found or not os.path.exists(found[0]):
        raise Refused(f"[PATH_NOT_FOUND] Path does not exist: {path}")
    if kind == "delta" and not exists(Path(path)):
        raise Refused(f"[DELTA_TABLE_NOT_FOUND] {path} is not a Delta table")
    if kind != "delta" and not has_schema and not any(_has_files(Path(name)) for name in found):
        raise Refused(f"[UNABLE_TO_INFER_SCHEMA] Unable to infer schema for {kind}: {path} holds no file")


def _has_files(path: Path) -> bool:
    if not path.is_dir():
        return True
    return any(name for _, _, files in os.walk(path) for name in files if not name.startswith((".", "_")))


def _refuse_ignored(kind: str, options: dict[str, str], paths: list[str]) -> None:
    """Refuse what the engine would accept and not do."""
    if kind == "text" and options.get("wholetext", "false").lower() == "true":
        raise Refused("this engine ignores the option wholetext; read the file in Python")
    encoding = options.get("encoding", options.get("charset", "utf-8")).lower().replace("-", "")
    if kind in _TEXT_FORMATS and encoding not in ("utf8", "usascii", "ascii"):
        raise Refused(f"this engine ignores the option encoding = {encoding}; read the files with a bronze_task")
    if kind != "binaryfile":
        return
    for path in paths:
        for file in [Path(path)] if Path(path).is_file() else Path(path).rglob("*"):
            if file.is_file() and file.stat().st_size > _BINARY_LIMIT:
                raise Refused(f"this engine reads {file}, which has more than 16 MiB, twice; read it in Python")
