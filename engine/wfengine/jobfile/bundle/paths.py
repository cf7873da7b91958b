"""Let relative paths start at the file they are written in, wherever their job is defined."""

from __future__ import annotations

import os
import re

from wfengine.jobfile import databricks
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq

#: What starts at no file: absolute, with a scheme, a home folder, or known in the run only.
_ELSEWHERE = re.compile(r"/|~|[A-Za-z][A-Za-z0-9+.-]*:|\{\{|$")


def rebased(job: Map, folder: str) -> Map:
    """Return the job with the paths that other files have given it made relative to ``folder``."""
    tasks = job.get("tasks")
    if not isinstance(tasks, Seq):
        return job
    items = [_task(item, folder) for item in tasks.items]
    place = job.entries["tasks"][0]
    entries = {**job.entries, "tasks": (place, Seq(items, tasks.line, tasks.column, tasks.file))}
    return Map(entries, job.line, job.column, job.file)


def _task(task: Node, folder: str) -> Node:
    """Rebase one task, and the task inside it when it is a for_each."""
    for kind, ways in databricks.PATHS.items():
        for way in ways:
            task = _changed(task, (f"{kind}_task", *way), folder)
    inner = task.get("for_each_task") if isinstance(task, Map) else None
    nested = inner.get("task") if isinstance(inner, Map) else None
    if isinstance(task, Map) and isinstance(inner, Map) and nested is not None:
        task = _with(task, "for_each_task", _with(inner, "task", _task(nested, folder)))
    return task


def _changed(node: Node, way: tuple[str, ...], folder: str) -> Node:
    """Return ``node`` with the path at the end of ``way`` rebased."""
    if not way:
        return _path(node, folder) if isinstance(node, Scalar) else node
    inner = node.get(way[0]) if isinstance(node, Map) else None
    if inner is None or not isinstance(node, Map):
        return node
    below = _changed(inner, way[1:], folder)
    return node if below is inner else _with(node, way[0], below)


def _with(node: Map, key: str, value: Node) -> Map:
    return Map({**node.entries, key: (node.entries[key][0], value)}, node.line, node.column, node.file)


def _path(node: Scalar, folder: str) -> Scalar:
    home = os.path.dirname(node.file)
    if not node.file or home == folder or _ELSEWHERE.match(node.text):
        return node
    text = os.path.relpath(os.path.join(home, node.text), folder or ".")
    return Scalar(text, False, node.line, node.column, node.file)
