"""What a task is made of, in hashes: its part of the job file, the files with its code, the job parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from wfengine.jobs import Task
from wfengine.layer import Layer
from wfengine.runs import Fingerprint

#: Hexadecimal digits kept of a hash; enough to tell versions of one task apart.
DIGITS = 16

_encoder = msgspec.json.Encoder(order="deterministic")


def of(task: Task, layer: type[Layer[Any]] | None, parameters: Mapping[str, str], folder: Path) -> Fingerprint:
    """Return the fingerprint of a task as it is now; ``folder`` is the job file's.

    ``layer`` is that of the task, or of the task inside it when it is a for_each; None for control tasks, and when it
    is gone.

    Modules that the task's files import are not looked at. All job parameters count, for any task can read them.
    """
    inner = task.nested or task
    code = hashlib.sha256(_encoder.encode([[each.kind, each.config, each.expect] for each in (task, inner)]))
    for source in layer.sources(inner.config, folder) if layer else ():
        code.update(source.name.encode())
        code.update(_digest(source))
    given = hashlib.sha256(_encoder.encode(dict(parameters)))
    return Fingerprint(code=code.hexdigest()[:DIGITS], parameters=given.hexdigest()[:DIGITS])


def _digest(file: Path) -> bytes:
    """Hash a file; one that cannot be read is as good as empty here, and fails its task when it is run."""
    try:
        status = file.stat()
        return _read_digest(file, status.st_ino, status.st_mtime_ns, status.st_size)
    except OSError:
        return b""


@lru_cache(maxsize=1000)
def _read_digest(file: Path, *version: int) -> bytes:
    """Hash the content; remembered as long as ``version`` is the same, because thousands of attempts share a file."""
    return hashlib.sha256(file.read_bytes()).digest()
