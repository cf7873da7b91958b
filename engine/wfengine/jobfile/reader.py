"""Read the mapping that describes a job into its fields, or say everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wfengine.errors import shown
from wfengine.jobfile import controls, cross, databricks, kinds, timing
from wfengine.jobfile.check import Checker
from wfengine.jobfile.cross import TaskEntry
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq
from wfengine.jobfile.shapes import JobShape, TaskShape
from wfengine.jobfile.typeinfo import spec
from wfengine.layer import Layer


class JobReader:
    """Reads one job; the faults are noted in its checker."""

    def __init__(self, checker: Checker, layers: Mapping[str, type[Layer[Any]]], path: Path) -> None:
        self.checker = checker
        self.layers = layers
        self.path = path.resolve()
        #: The tasks, as far as they could be read.
        self.entries: list[TaskEntry] = []

    def job(self, node: Map) -> dict[str, Any]:
        """Check the whole job and return the fields of its `Job`; they are of use when no fault was noted."""
        plain = self.checker.fields(node, spec(JobShape), "")
        queue = plain.pop("queue", None) or {}
        self._name(node)
        timing.check(self.checker, node)
        parameters = self._parameters(node, plain.pop("parameters", []))
        listed = node.get("tasks")
        self.entries = [
            entry
            for index, item in enumerate(listed.items if isinstance(listed, Seq) else ())
            if (entry := self._task(item, f"tasks[{index}]"))
        ]
        cross.check(self.checker, self.entries, [parameter["name"] for parameter in parameters])
        return {
            **plain,
            "tasks": [entry.task() for entry in self.entries],
            "parameters": parameters,
            "queue_enabled": queue.get("enabled", False),
            "path": str(self.path),
            "ignored": [name for name, _ in self.checker.ignored],
        }

    def settings(self, top: Node) -> Map | None:
        """Return the mapping that describes the job, which ``databricks jobs get`` wraps in ``settings``."""
        if not isinstance(top, Map):
            self.checker.fault(top, "", "should be a mapping with `name` and `tasks`", value="")
            return None
        inner = top.get("settings")
        if not isinstance(inner, Map):
            return top
        around = databricks.IGNORED[JobShape]
        for key, (place, _) in top.entries.items():
            if key in around:
                self.checker.ignored.append((key, place))
            elif key != "settings":
                self.checker.fault(place, key, "is not a known field beside `settings`", "move it below `settings`")
        return inner

    def _name(self, node: Map) -> None:
        name = node.get("name")
        if isinstance(name, Scalar) and not name.text.isprintable():
            self.checker.fault(name, "name", "contains a character that cannot be shown", "remove it")

    def _parameters(self, node: Map, given: Any) -> list[dict[str, str]]:
        """Return job parameters in the list form, and check that each is named once."""
        where = node.get("parameters")
        if isinstance(given, dict):
            found = [{"name": name, "default": text} for name, text in given.items()]
        else:
            found = [item for item in given or () if isinstance(item, dict) and isinstance(item.get("name"), str)]
        seen: dict[str, Node] = {}
        for index, item in enumerate(where.items if isinstance(where, Seq) else ()):
            name = item.get("name") if isinstance(item, Map) else None
            if isinstance(name, Scalar) and name.text in seen:
                message = f"names the parameter {shown(name.text)!r} again, first in line {seen[name.text].line}"
                self.checker.fault(name, f"parameters[{index}].name", message)
            elif isinstance(name, Scalar):
                seen[name.text] = name
        if where is not None:
            cross.parameter_references(self.checker, where, [parameter["name"] for parameter in found])
        return found

    def _task(self, node: Node, field: str) -> TaskEntry | None:
        """Check one entry of ``tasks`` by itself; None when it is no mapping."""
        common = node
        if isinstance(node, Map):
            entries = {key: entry for key, entry in node.entries.items() if not key.endswith(kinds.SUFFIX)}
            common = Map(entries, node.line, node.column, node.file)
        others = [name + kinds.SUFFIX for name in (*self.layers, *controls.SHAPES)]
        plain = self.checker.fields(common, spec(TaskShape), field, others=others)
        if not isinstance(node, Map):
            return None
        self._expectations(node, field)
        entry = TaskEntry(node=node, field=field, plain=plain)
        entry.kind = kinds.choose(self.checker, node, field, self.layers)
        if entry.kind in self.layers:
            name = entry.kind + kinds.SUFFIX
            layer, folder = self.layers[entry.kind], self.path.parent
            entry.config = kinds.config(self.checker, node.entries[name][1], f"{field}.{name}", layer, folder)
        elif entry.kind in controls.SHAPES:
            entry.config = controls.config(self.checker, node, field, entry.kind, plain)
            entry.nested = self._nested(node, f"{field}.for_each_task") if entry.kind == "for_each" else None
        plain["depends_on"] = [
            {"task_key": item} if isinstance(item, str) else item for item in plain.get("depends_on") or ()
        ]
        return entry

    def _nested(self, node: Map, field: str) -> TaskEntry | None:
        """Check the task inside a for_each."""
        around = node.entries["for_each_task"][1]
        inner = around.get("task") if isinstance(around, Map) else None
        if inner is None:
            return None
        field = f"{field}.task"
        if not isinstance(inner, Map):
            self.checker.fault(inner, field, "should be a mapping", value="")
            return None
        # A loop inside is looked at no deeper: nobody knows how deep that goes.
        entry = None if controls.is_loop(self.checker, inner, field) else self._task(inner, field)
        if entry:
            controls.nested(self.checker, inner, field, entry.plain)
        return entry

    def _expectations(self, node: Map, field: str) -> None:
        listed = node.get("expect")
        for index, item in enumerate(listed.items if isinstance(listed, Seq) else ()):
            if isinstance(item, Map) and ("query" in item.entries) == bool({"table", "where"} & item.entries.keys()):
                name = f"{field}.expect[{index}]"
                self.checker.fault(item, name, "should have either `query`, or `table` with `where`")
            elif isinstance(item, Map) and ("table" in item.entries) != ("where" in item.entries):
                self.checker.fault(item, f"{field}.expect[{index}]", "should have both `table` and `where`")
