"""Read and check job files: every fault at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfengine.jobfile.config import convert_config

if TYPE_CHECKING:
    from wfengine.jobfile.reader import JobFile
    from wfengine.layer import Layer

__all__ = ["convert_config", "read", "schema"]


def read(
    path: Path, layers: Mapping[str, type[Layer[Any]]], *, root: Path, variables: Mapping[str, str] | None = None
) -> JobFile:
    """Read and check the job file at ``path``; ``layers`` are the kinds of task there are, by name.

    ``variables`` are the values for ``${var.name}`` in the file. A file outside the project ``root`` gets a warning,
    for its relative paths will be refused when it runs.
    Raises JobFileError with every fault that could be found, in the order of the file.
    """
    from wfengine.jobfile import reader  # the worker needs convert_config only and does not wait for YAML

    return reader.read(path, layers, root=root, variables=variables)


def schema(layers: Mapping[str, type[Layer[Any]]]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of job files whose tasks may be of the kinds ``layers``."""
    from wfengine.jobfile.schema import schema as made

    return made(layers)
