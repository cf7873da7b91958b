"""Find and read the files of a bundle and put their sections together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from wfengine.errors import JobFileError, shown
from wfengine.jobfile import source
from wfengine.jobfile.bundle.overlay import merge
from wfengine.jobfile.bundle.shapes import IGNORED, FileShape, NameShape
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq, is_null
from wfengine.jobfile.typeinfo import spec

#: Files that one bundle may include.
MAX_FILES = 1000
_SUFFIXES = (".yml", ".yaml", ".json")
#: The sections that are merged over all files of a bundle.
_SECTIONS = ("bundle", "workspace", "variables", "presets", "targets", "resources")


def sections(checker: Checker, path: Path, top: Map) -> dict[str, Map]:
    """Read the files that the bundle at ``path`` includes and return its sections, merged over all files.

    ``top`` is what stands in the file at ``path``. Faults are noted, each with the path of its own file.
    """
    merged: dict[str, Map] = {name: Map({}, 1, 1, str(path)) for name in _SECTIONS}
    for node in (top, *_included(checker, path, top)):
        checker.fields(node, spec(FileShape), "", ignored=IGNORED[FileShape])
        if node is not top and "include" in node.entries:
            checker.ignored.append(("include", node.entries["include"][0]))
        _twice(checker, merged["resources"], node.get("resources"))
        for name in _SECTIONS:
            section = node.get(name)
            if isinstance(section, Map):
                together = merge(checker, merged[name], section, name) if merged[name].entries else section
                merged[name] = together if isinstance(together, Map) else merged[name]
    if "bundle" in top.entries:
        checker.fields(merged["bundle"], spec(NameShape), "bundle", ignored=IGNORED[NameShape])
    return merged


def _twice(checker: Checker, merged: Map, new: Node | None) -> None:
    """Note jobs that a file before has defined already."""
    before = merged.get("jobs")
    jobs = new.get("jobs") if isinstance(new, Map) else None
    if isinstance(before, Map) and isinstance(jobs, Map):
        for key, (place, _) in jobs.entries.items():
            if key in before.entries:
                first = before.entries[key][0]
                message = f"defines the job {shown(key)!r} again, first in {first.file}:{first.line}"
                checker.fault(place, f"resources.jobs.{key}", message, "give one of them another key")


def _included(checker: Checker, path: Path, top: Map) -> Iterator[Map]:
    """Yield what stands in each included file, in the order of the patterns and then of the names."""
    patterns = top.get("include")
    seen = {path.resolve()}
    for index, pattern in enumerate(patterns.items if isinstance(patterns, Seq) else ()):
        if not isinstance(pattern, Scalar):
            continue
        for file in _matches(checker, path.parent, pattern, f"include[{index}]"):
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                node, faults = source.load(file)
            except JobFileError as error:
                checker.faults.extend(error.faults)
                continue
            checker.faults.extend(faults)
            if isinstance(node, Map):
                yield node
            elif not is_null(node):
                checker.fault(node, "", "should be a mapping, as every file of a bundle", value="")


def _matches(checker: Checker, root: Path, pattern: Scalar, field: str) -> list[Path]:
    """Return the files that match a pattern, all of them below ``root``."""
    parts = PurePosixPath(pattern.text).parts
    if pattern.text.startswith(("/", "~")) or ".." in parts or not parts or "\0" in pattern.text:
        checker.fault(pattern, field, "should be a pattern of paths below the bundle's folder")
        return []
    try:
        found = sorted(itertools.islice((file for file in root.glob(pattern.text) if file.is_file()), MAX_FILES + 1))
    except (ValueError, NotImplementedError, OSError) as error:
        checker.fault(pattern, field, f"is not a pattern of paths: {error}")
        return []
    if len(found) > MAX_FILES:
        checker.fault(pattern, field, f"matches more than {MAX_FILES} files")
        return []
    if not found and not any(sign in pattern.text for sign in "*?["):
        checker.fault(pattern, field, "there is no such file")
    good = []
    for file in found:
        if not file.resolve().is_relative_to(root.resolve()):
            checker.fault(pattern, field, f"{file.relative_to(root)} leads outside the bundle's folder")
        elif file.suffix not in _SUFFIXES:
            message = f"{file.relative_to(root)} is no {', '.join(_SUFFIXES)} file"
            checker.fault(pattern, field, message, "write a pattern that matches only the bundle's files")
        else:
            good.append(file)
    return good
