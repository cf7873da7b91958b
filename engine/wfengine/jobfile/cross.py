"""What no single field can show: keys, dependencies, cycles and references of all tasks together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from wfengine import graph, values
from wfengine.errors import shown
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq, locate, scalars
from wfengine.jobs import Dependency, Task

#: References are not checked beyond this number of faults, so that a wholly wrong file is refused at once.
_ENOUGH = 500
#: Cycles named in one file.
_CYCLES = 10


class TaskEntry(msgspec.Struct, kw_only=True):
    """One entry of ``tasks`` while it is read: what it says and where."""

    node: Map
    #: As in ``tasks[2]``.
    field: str
    #: The fields of `TaskShape` that are given, as plain data.
    plain: dict[str, Any]
    kind: str = ""
    config: dict[str, Any] = {}
    #: The task inside a for_each.
    nested: TaskEntry | None = None

    def task(self) -> dict[str, Any]:
        """Return the fields of its `Task`."""
        inside = {"nested": self.nested.task()} if self.nested else {}
        return {**self.plain, "kind": self.kind, "config": self.config, **inside}

    @property
    def key(self) -> str | None:
        """The task's key, None when it has none that is text."""
        key = self.plain.get("task_key")
        return key if isinstance(key, str) else None


def check(checker: Checker, entries: Sequence[TaskEntry], parameters: Collection[str]) -> None:
    """Note the faults that lie between tasks; without cycles, which have no order, also references to nothing."""
    tasks = _by_key(checker, entries)
    edges = {key: _edges(checker, key, entry, tasks) for key, entry in tasks.items()}
    for entry in entries:
        if entry.key is None or tasks[entry.key] is not entry:
            _edges(checker, entry.key, entry, tasks)
    if not _cycles(checker, tasks, edges):
        _references(checker, entries, edges, parameters)


def _cycles(checker: Checker, tasks: Mapping[str, TaskEntry], edges: Mapping[str, Sequence[str]]) -> bool:
    """Name the cycles that share no task; True when there is one."""
    found = False
    for _ in range(_CYCLES):
        cycle = graph.find_cycle(edges)
        if cycle is None:
            break
        found, members = True, frozenset(cycle)
        entry = tasks[cycle[0]]
        place = entry.node.get("depends_on") or entry.node
        names = " -> ".join(cycle) if len(cycle) < 100 else f"{' -> '.join(cycle[:50])} -> … ({len(cycle) - 1} tasks)"
        checker.fault(place, f"{entry.field}.depends_on", f"tasks wait for each other: {names}", value="")
        edges = {key: upstreams for key, upstreams in edges.items() if key not in members}
    return found


def _by_key(checker: Checker, entries: Sequence[TaskEntry]) -> dict[str, TaskEntry]:
    tasks: dict[str, TaskEntry] = {}
    for entry in entries:
        if entry.key is None:
            continue
        first = tasks.setdefault(entry.key, entry)
        if first is not entry:
            place, before = entry.node.entries["task_key"][1], first.node.entries["task_key"][1]
            message = f"the task_key {shown(entry.key)!r} stands here for the second time, first in line {before.line}"
            checker.fault(place, f"{entry.field}.task_key", message)
    return tasks


def _edges(checker: Checker, key: str | None, entry: TaskEntry, tasks: dict[str, TaskEntry]) -> list[str]:
    """Return the known upstreams of one task and note what is wrong with the others."""
    known: dict[str, None] = {}
    for node, field, name, outcome in _dependencies(entry):
        upstream = tasks.get(name)
        if upstream is None:
            hint = checker.suggest(name, tasks)
            checker.fault(node, field, f"there is no task {shown(name)!r}", hint, value=name)
        elif name == key:
            checker.fault(node, field, "a task cannot wait for itself", value=name)
        elif name in known:
            checker.fault(node, field, f"names the task {shown(name)!r} a second time", value=name)
        else:
            known[name] = None
            if outcome is not None and upstream.kind not in ("condition", ""):
                message = f"outcome is for conditions only, and {shown(name)!r} is a {upstream.kind}_task"
                checker.fault(outcome, field.removesuffix(".task_key") + ".outcome", message)
    return list(known)


def _dependencies(entry: TaskEntry) -> Iterator[tuple[Node, str, str, Node | None]]:
    """Yield each well-formed dependency: its place, its field, the task it names, the place of its outcome."""
    node = entry.node.get("depends_on")
    for index, item in enumerate(node.items if isinstance(node, Seq) else ()):
        field = f"{entry.field}.depends_on[{index}]"
        if isinstance(item, Scalar):
            yield item, field, item.text, None
        elif isinstance(item, Map):
            name = item.get("task_key")
            if isinstance(name, Scalar):
                yield name, f"{field}.task_key", name.text, item.get("outcome")


def _references(
    checker: Checker, entries: Sequence[TaskEntry], edges: dict[str, list[str]], parameters: Collection[str]
) -> None:
    before: dict[str, int] | None = None
    number = {key: index for index, key in enumerate(edges)}
    for entry, scalar, field, in_for_each in _all_texts(entries):
        if len(checker.faults) >= _ENOUGH:
            return
        names = values.references(scalar.text)
        upstreams = edges.get(entry.key or "", [])
        mentioned = [task for name in names if (task := _task_of(name)) in number and task not in upstreams]
        if mentioned:
            before = _before(edges, number) if before is None else before
            reach = before.get(entry.key or "", 0)
            upstreams = [*upstreams, *(task for task in mentioned if reach >> number[task] & 1)]
        for name in names:
            fault = values.check(name, parameters=parameters, upstreams=upstreams, in_for_each=in_for_each)
            if fault:
                checker.fault(scalar, field, *fault)


def _all_texts(entries: Sequence[TaskEntry]) -> Iterator[tuple[TaskEntry, Scalar, str, bool]]:
    """Yield the values in which references are filled, the task whose upstreams count, whether in a for_each."""
    for entry in entries:
        for scalar, field in _texts(entry):
            yield entry, scalar, field, False
        for scalar, field in _texts(entry.nested) if entry.nested else ():
            yield entry, scalar, field, True


def _texts(entry: TaskEntry) -> Iterator[tuple[Scalar, str]]:
    """Yield the values of one task: those of the ``<kind>_task``, of the expectations and of the outputs."""
    for name in ("for_each_task.inputs",) if entry.nested else (f"{entry.kind}_task", "expect", "outputs"):
        part: Node | None = locate(entry.node, tuple(name.split("."))) if entry.nested else entry.node.get(name)
        for scalar, field in scalars(part, f"{entry.field}.{name}") if part else ():
            if "{{" in scalar.text:
                yield scalar, field


def _task_of(reference: str) -> str:
    """Return the task that ``tasks.<t>.values.x`` names, else nothing."""
    parts = reference.split(".")
    return parts[1].strip("`") if parts[0] == "tasks" and len(parts) > 1 else ""


def _before(edges: dict[str, list[str]], number: dict[str, int]) -> dict[str, int]:
    """Return for each task every task before it as one number with a bit each: 10,000 tasks in a chain need 12 MB."""
    before: dict[str, int] = {}
    tasks = [Task(task_key=key, kind="", depends_on=tuple(map(Dependency, edges[key]))) for key in edges]
    for key in graph.build(tasks).order:
        reach = 0
        for upstream in edges[key]:
            reach |= before[upstream] | 1 << number[upstream]
        before[key] = reach
    return before


def parameter_references(checker: Checker, node: Node, names: Collection[str]) -> None:
    """Check the references in the defaults of job parameters, which are filled before any task exists."""
    for scalar, field in scalars(node, "parameters"):
        for name in values.references(scalar.text):
            fault = values.check(name, parameters=names, upstreams=(), in_task=False)
            if fault:
                checker.fault(scalar, field, *fault)
