"""Read and check job files: every fault at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfengine.jobfile.config import convert_config

if TYPE_CHECKING:
    from wfengine.jobfile.bundle.listing import Bundle
    from wfengine.jobfile.inspection import JobFile
    from wfengine.layer import Layer

__all__ = ["convert_config", "inspect", "read", "read_bundle", "schema"]


def read(
    path: Path,
    layers: Mapping[str, type[Layer[Any]]],
    *,
    root: Path,
    variables: Mapping[str, str] | None = None,
    job: str | None = None,
    target: str | None = None,
) -> JobFile:
    """Read and check the job file at ``path``; ``layers`` are the kinds of task there are, by name.

    ``variables`` are the values for ``${var.name}`` in the file. A file outside the project ``root`` gets a warning,
    for its relative paths will be refused when it runs. ``job`` chooses a job of a bundle by its key or name, and
    ``target`` the bundle's target.
    Raises JobFileError with every fault that could be found, in the order of the file; the faults of a bundle's
    other jobs are none of this one.
    """
    from wfengine.jobfile import inspection  # the worker needs convert_config only and does not wait for YAML

    return inspection.read(path, layers, root=root, variables=variables, job=job, target=target)


def inspect(
    path: Path,
    layers: Mapping[str, type[Layer[Any]]],
    *,
    root: Path,
    variables: Mapping[str, str] | None = None,
    target: str | None = None,
) -> JobFile | Bundle:
    """Read what the file at ``path`` holds, one job or a whole bundle; the arguments are those of `read`.

    Raises JobFileError for one job with its faults. A bundle comes with its faults, unless its file cannot be
    understood or no target can be chosen.
    """
    from wfengine.jobfile import inspection

    return inspection.inspect(path, layers, root=root, variables=variables, target=target)


def read_bundle(
    path: Path,
    layers: Mapping[str, type[Layer[Any]]],
    *,
    root: Path,
    target: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Bundle:
    """Read the bundle at ``path`` as `inspect` does; raises JobFileError also when the file is that of one job."""
    from wfengine.errors import Fault, JobFileError
    from wfengine.jobfile.bundle.listing import Bundle

    found = inspect(path, layers, root=root, variables=variables, target=target)
    if not isinstance(found, Bundle):
        raise JobFileError([Fault(path=str(path), message="is the file of one job, not a bundle")])
    return found


def schema(layers: Mapping[str, type[Layer[Any]]]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of job files whose tasks may be of the kinds ``layers``."""
    from wfengine.jobfile.schema import schema as made

    return made(layers)
