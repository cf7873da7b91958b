"""Where things are and how much is allowed: the project, its home, its warehouse, its limits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from wfengine.errors import UsageError

#: A folder that holds one of these is a project's root.
ROOT_MARKERS = ("wfengine.toml", ".wfengine", "databricks.yml", "pyproject.toml", ".git")


class SparkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which Spark engine the tasks use."""

    #: ``sail`` is the engine that needs no JVM.
    master: str = "sail"


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a daemon shows its metrics."""

    #: Port on 127.0.0.1; without one there are none.
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None


class FileSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``wfengine.toml`` in the project's root may say; every field has a default."""

    #: Folder of the tables, relative to the project's root.
    warehouse: str = "warehouse"
    #: Tasks that may run at the same time; 0 for the number of cores.
    max_tasks: int = 0
    #: Seconds between the polite and the final signal to a task that must stop.
    grace_seconds: float = 10
    #: Seconds that a daemon told to end lets running tasks go on before it stops them, to be repeated later.
    drain_seconds: float = 60
    #: Bytes of log kept for each attempt, half from its head and half from its tail.
    log_limit: int = 64 * 1024 * 1024
    spark: SparkSettings = SparkSettings()
    metrics: MetricsSettings = MetricsSettings()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force, every path absolute."""

    root: Path
    home: Path
    warehouse: Path
    max_tasks: int
    grace_seconds: float
    drain_seconds: float
    log_limit: int
    spark: SparkSettings
    metrics: MetricsSettings = MetricsSettings()


def project_root(start: Path) -> Path:
    """Return the nearest folder at or above ``start`` that looks like a project's root, else ``start``."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if any((folder / marker).exists() for marker in ROOT_MARKERS):
            return folder
    return start


def load(start: Path, home: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of the project around the folder ``start``.

    ``home`` beats ``WFENGINE_HOME``, which beats ``.wfengine`` in the project's root.
    Raises UsageError when ``wfengine.toml`` has a fault.
    """
    root = project_root(start)
    file = _read(root / "wfengine.toml")
    chosen = home or (Path(environ["WFENGINE_HOME"]) if environ.get("WFENGINE_HOME") else root / ".wfengine")
    return Settings(
        root=root,
        home=chosen.resolve(),
        warehouse=(root / file.warehouse).resolve(),
        max_tasks=file.max_tasks or os.cpu_count() or 1,
        grace_seconds=file.grace_seconds,
        drain_seconds=file.drain_seconds,
        log_limit=file.log_limit,
        spark=file.spark,
        metrics=file.metrics,
    )


def _read(path: Path) -> FileSettings:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=FileSettings)
    except FileNotFoundError:
        return FileSettings()
    except (msgspec.DecodeError, OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
