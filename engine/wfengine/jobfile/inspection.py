"""Tell a job file from a bundle, and read either: into jobs, or into everything that is wrong."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from wfengine.errors import Fault, JobFileError, shown
from wfengine.jobfile import source
from wfengine.jobfile.bundle import load
from wfengine.jobfile.bundle.listing import Bundle, BundleJob, BundleTask
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar
from wfengine.jobfile.reader import JobReader
from wfengine.jobfile.references import Known, Resolver, given, without_effect
from wfengine.jobs import Job
from wfengine.layer import Layer


class JobFile(msgspec.Struct, frozen=True):
    """A job and what is worth saying about its file although nothing is wrong."""

    job: Job
    warnings: tuple[Fault, ...] = ()


def read(
    path: Path,
    layers: Mapping[str, type[Layer[Any]]],
    *,
    root: Path,
    variables: Mapping[str, str] | None = None,
    job: str | None = None,
    target: str | None = None,
) -> JobFile:
    """Read one job, see `wfengine.jobfile.read`."""
    found = inspect(path, layers, root=root, variables=variables, target=target)
    if isinstance(found, Bundle):
        return JobFile(*found.pick(job))
    if job not in (None, found.job.name):
        raise JobFileError([Fault(path=str(path), message=f"holds the job {found.job.name!r}, not {shown(job)!r}")])
    return found


def inspect(
    path: Path,
    layers: Mapping[str, type[Layer[Any]]],
    *,
    root: Path,
    variables: Mapping[str, str] | None = None,
    target: str | None = None,
) -> JobFile | Bundle:
    """Read whatever the file holds, see `wfengine.jobfile.inspect`."""
    with _collector_off():
        top, faults = source.load(path)
        checker = Checker(str(path))
        checker.faults.extend(faults)
        if isinstance(top, Map) and load.is_bundle(top):
            return _bundle(checker, path, top, layers, root, target, variables or {})
        found = _job_file(checker, path, top, layers, root, variables or {})
    if target is not None:
        hint = "leave --target out"
        raise JobFileError([Fault(path=str(path), message="is the file of one job, which has no targets", hint=hint)])
    return found


def _job_file(
    checker: Checker,
    path: Path,
    top: Node,
    layers: Mapping[str, type[Layer[Any]]],
    root: Path,
    variables: Mapping[str, str],
) -> JobFile:
    reader = JobReader(checker, layers, path)
    node = reader.settings(top)
    plain: dict[str, Any] = {}
    if node is not None:
        known = Known(Map({"var": (Scalar("var", False, 0, 0), Map(given(checker, variables), 0, 0))}, 0, 0))
        resolver = Resolver(known, checker)
        filled = resolver.fill(node, without_effect(layers))
        plain = _read(reader, filled, resolver.unfilled) if isinstance(filled, Map) else {}
    faults = [*checker.faults, *checker.unsupported]
    if faults:
        raise JobFileError(sorted(faults, key=lambda fault: (fault.line, fault.column)))
    warnings = (*_outside(path, reader.path, root), *_no_effect(checker.path, checker.ignored))
    return JobFile(msgspec.convert(plain, Job), warnings)


def _bundle(
    checker: Checker,
    path: Path,
    top: Map,
    layers: Mapping[str, type[Layer[Any]]],
    root: Path,
    target: str | None,
    variables: Mapping[str, str],
) -> Bundle:
    loaded = load.load(checker, path, top, without_effect(layers), target, variables)
    listed = tuple(_bundle_job(part, layers, path) for part in loaded.parts)
    outside = _outside(path, path.resolve(), root)
    ignored = [*checker.ignored]
    for part in loaded.parts:
        ignored += [(f"resources.jobs.{part.key}.{field}", place) for field, place in part.checker.ignored]
    return Bundle(
        path=str(path),
        name=loaded.name,
        target=loaded.target,
        listed=listed,
        own_faults=tuple(dict.fromkeys(checker.faults)),
        own_warnings=(*outside, *_no_effect(checker.path, checker.ignored)),
        warnings=(*outside, *_no_effect(checker.path, ignored)),
    )


def _bundle_job(part: load.Part, layers: Mapping[str, type[Layer[Any]]], bundle: Path) -> BundleJob:
    """Check one job of the bundle at ``bundle`` as if its file held nothing else."""
    checker, place = part.checker, part.place
    reader = JobReader(checker, layers, Path(place.file))
    plain = _read(reader, part.node, part.unfilled) if part.node else {}
    plain |= {"bundle": str(bundle.resolve()), "key": part.key}
    name = part.node.get("name") if part.node else None
    tasks = tuple(
        BundleTask(task_key=entry.key or "", kind=entry.kind, path=entry.node.file, line=entry.node.line)
        for entry in reader.entries
    )
    return BundleJob(
        key=part.key,
        name=name.text if isinstance(name, Scalar) else part.key,
        path=place.file,
        line=place.line,
        tasks=tasks,
        job=None if checker.faults else msgspec.convert(plain, Job),
        faults=_below(part.key, checker.faults),
        unsupported=_below(part.key, checker.unsupported),
        warnings=_below(part.key, _no_effect(checker.path, checker.ignored)),
    )


def _read(reader: JobReader, node: Map, unfilled: set[tuple[str, int, int]]) -> dict[str, Any]:
    """Read a job and drop what is said about values whose references could not be filled: that was said."""
    checker = reader.checker
    before = len(checker.faults)
    plain = reader.job(node)
    checker.faults[before:] = [
        fault for fault in checker.faults[before:] if (fault.path, fault.line, fault.column) not in unfilled
    ]
    return plain


def _below(key: str, faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Name the fields of a job as they are named in the bundle."""
    start = shown(f"resources.jobs.{key}.", 100)
    return tuple(
        msgspec.structs.replace(fault, field=start + fault.field) if fault.field else fault for fault in faults
    )


def _no_effect(path: str, ignored: list[tuple[str, Scalar]]) -> list[Fault]:
    """Say once which fields have no effect, with the place of the first."""
    if not ignored:
        return []
    places: dict[str, list[str]] = {}
    for field, place in ignored:
        places.setdefault(place.text, []).append(field)
    names = [name if len(fields) == 1 else f"{name} ({len(fields)} times)" for name, fields in places.items()]
    field, first = ignored[0]
    return [
        Fault(
            path=first.file or path,
            line=first.line,
            column=first.column,
            field=field,
            message=f"these fields of Databricks have no effect here: {', '.join(names)}",
        )
    ]


def _outside(path: Path, resolved: Path, root: Path) -> list[Fault]:
    if resolved.is_relative_to(root) or resolved.is_relative_to(root.resolve()):
        return []
    message = f"lies outside the project {root}, so its relative paths will be refused"
    return [Fault(path=str(path), message=message, hint="choose another project with --root")]


@contextmanager
def _collector_off() -> Iterator[None]:
    """Keep the garbage collector from walking over the growing tree again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
