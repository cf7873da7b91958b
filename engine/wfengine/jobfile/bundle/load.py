"""Read a bundle's files into one mapping for each job: target laid over, references filled, presets applied."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from wfengine.errors import Fault, JobFileError, did_you_mean
from wfengine.jobfile.bundle import files, target, variables
from wfengine.jobfile.bundle.paths import rebased
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar, is_null
from wfengine.jobfile.references import Keep, Known, Resolver

#: A file with one of these at its top is a bundle, or a part of one.
SIGNS = ("bundle", "resources", "targets")
#: The folder of a workspace before a path in it, which is the bundle's own folder here.
_WORKSPACE = re.compile(r"^/Workspace/?(?=\$\{workspace\.(?:root|file)_path\})")


class Part(msgspec.Struct):
    """One job of a bundle, before it is checked as every job is."""

    key: str
    #: Where its key stands.
    place: Scalar
    #: Its fields; None when they are no mapping.
    node: Map | None
    #: The faults and the references of this job alone.
    checker: Checker
    unfilled: set[tuple[str, int, int]]


class Loaded(msgspec.Struct):
    """A bundle's jobs as one target sees them."""

    name: str
    target: str
    parts: list[Part]


def is_bundle(top: Node) -> bool:
    """Whether a file's value is a bundle or a part of one."""
    return isinstance(top, Map) and any(sign in top.entries for sign in SIGNS)


def load(checker: Checker, path: Path, top: Map, keep: Keep, wanted: str | None, given: Mapping[str, str]) -> Loaded:
    """Read the rest of the bundle whose file at ``path`` holds ``top``.

    ``keep`` are the fields of a job that stay as they are, ``wanted`` is the target and ``given`` the variables that
    were asked for. Faults are noted; raises JobFileError when no target can be chosen.
    """
    if "bundle" not in top.entries:
        hint = "give the bundle's databricks.yml, and the job with --job"
        raise JobFileError([*checker.faults, Fault(path=str(path), message="is only a part of a bundle", hint=hint)])
    parts = files.sections(checker, path, top)
    chosen, said = target.choose(checker, parts["targets"], wanted)
    own = said.get("variables")
    known = variables.values(
        checker, parts["variables"], own if isinstance(own, Map) else Map({}, 0, 0), given, os.environ
    )
    parts = target.overlaid(checker, parts, chosen, said)
    short_name = _know(known, parts, path, chosen)
    filled = Resolver(known, checker).fill(parts["presets"])
    presets = target.presets(checker, filled, said, short_name)
    name = parts["bundle"].get("name")
    jobs = [_part(key, place, node, known, keep, presets) for key, (place, node) in _jobs(checker, parts["resources"])]
    return Loaded(name.text if isinstance(name, Scalar) else "", chosen, jobs)


def _know(known: Known, parts: dict[str, Map], path: Path, chosen: str) -> str:
    """Let references name what the bundle says and what is known about this place; returns the user's short name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name
        user = "user"
    short_name = re.sub(r"[^A-Za-z0-9]", "_", user.partition("@")[0])
    folder = str(path.resolve().parent)
    for section in ("bundle", "workspace", "resources"):
        known.tree.entries[section] = (Scalar(section, False, 0, 0), parts[section])
    known.fixed.update({
        ("bundle", "target"): chosen,
        ("bundle", "environment"): chosen,
        ("workspace", "current_user", "userName"): user,
        ("workspace", "current_user", "short_name"): short_name,
        ("workspace", "root_path"): folder,
        ("workspace", "file_path"): folder,
    })  # fmt: skip
    jobs = parts["resources"].get("jobs")
    known.fixed.update({("resources", "jobs", key, "id"): key for key in jobs.entries} if isinstance(jobs, Map) else {})
    known.respell = _respelt
    return short_name


def _respelt(text: str) -> str:
    """Write the places of a workspace where a bundle's files are as the folder they come from."""
    return _WORKSPACE.sub("", text).replace("${workspace.root_path}/files", "${workspace.file_path}")


def _jobs(checker: Checker, resources: Map) -> list[tuple[str, tuple[Scalar, Node]]]:
    """Return the jobs among the resources; the other kinds have no effect."""
    for kind, (place, _) in resources.entries.items():
        if kind != "jobs" and (hint := did_you_mean(kind, ("jobs",))):
            checker.fault(place, f"resources.{kind}", "is not a known kind of resource", hint)
        elif kind != "jobs":
            checker.ignored.append((f"resources.{kind}", place))
    jobs = resources.get("jobs")
    if jobs is not None and not isinstance(jobs, Map) and not is_null(jobs):
        checker.fault(jobs, "resources.jobs", "should be a mapping of jobs by key")
    return list(jobs.entries.items()) if isinstance(jobs, Map) else []


def _part(key: str, place: Scalar, node: Node, known: Known, keep: Keep, presets: dict[str, Any]) -> Part:
    checker = Checker(place.file)
    resolver = Resolver(known, checker)
    try:
        filled = resolver.fill(node, keep)
    except JobFileError:  # its faults are those of the checker
        return Part(key, place, None, checker, resolver.unfilled)
    if isinstance(filled, Map):
        job = target.preset(rebased(filled, os.path.dirname(place.file)), key, presets)
        return Part(key, place, job, checker, resolver.unfilled)
    if (filled.file, filled.line, filled.column) not in resolver.unfilled:
        checker.fault(filled, "", "should be a mapping, the fields of the job", value="")
    return Part(key, place, None, checker, resolver.unfilled)
