"""The shape of a bundle's files around the jobs, as far as it means something here."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from wfengine.jobfile.shapes import Count, Name, Pause

#: Read one by one, by whoever knows what they are.
Anything = msgspec.Raw


class NameShape(msgspec.Struct, forbid_unknown_fields=True):
    """The mapping ``bundle``."""

    name: Name


class PresetsShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a target changes in every job."""

    name_prefix: str = ""
    trigger_pause_status: Pause | None = None
    jobs_max_concurrent_runs: Count | None = None


class VariableShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One variable, as its declaration or a target describes it."""

    description: str = ""
    type: Literal["complex"] | None = None
    default: Anything = msgspec.Raw()
    lookup: Anything = msgspec.Raw()


class TargetShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One target."""

    default: bool = False
    mode: Literal["development", "production"] | None = None
    presets: Anything = msgspec.Raw()
    variables: dict[str, Anything] = {}
    resources: dict[str, Anything] = {}
    bundle: dict[str, Anything] = {}
    workspace: dict[str, Anything] = {}


class FileShape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One file of a bundle."""

    bundle: dict[str, Anything] = {}
    include: list[str] = []
    variables: dict[str, Anything] = {}
    targets: dict[str, Anything] = {}
    resources: dict[str, Anything] = {}
    workspace: dict[str, Anything] = {}
    presets: Anything = msgspec.Raw()


#: Fields that are accepted and have no effect, by shape.
IGNORED: dict[type[Any], frozenset[str]] = {
    NameShape: frozenset({
        "cluster_id", "compute_id", "databricks_cli_version", "deployment", "engine", "git", "target", "uuid",
    }),
    PresetsShape: frozenset({
        "artifacts_dynamic_version", "catalog", "pipelines_development", "schema", "source_linked_deployment", "tags",
    }),
    TargetShape: frozenset({
        "artifacts", "cluster_id", "compute_id", "experimental", "git", "permissions", "run_as", "sync",
    }),
    FileShape: frozenset({
        "artifacts", "experimental", "permissions", "python", "run_as", "scripts", "sync",
    }),
}  # fmt: skip
