"""Check the control tasks of the engine itself: conditions, for_eachs and run_jobs."""

from __future__ import annotations

from typing import Any

import msgspec

from wfengine import conditions, loops
from wfengine.errors import TaskFailed
from wfengine.jobfile.check import Checker
from wfengine.jobfile.kinds import SUFFIX
from wfengine.jobfile.nodes import Map, Scalar, is_null
from wfengine.jobfile.shapes import ConditionShape, ForEachShape, RunJobShape
from wfengine.jobfile.typeinfo import spec

#: The shape of each ``<kind>_task``.
SHAPES: dict[str, type[msgspec.Struct]] = {
    "condition": ConditionShape,
    "for_each": ForEachShape,
    "run_job": RunJobShape,
}
#: Why a control task cannot have ``max_retries``.
_NO_RETRIES = {
    "condition": "a condition is never retried: remove max_retries",
    "for_each": "a for_each is not retried as a whole: put max_retries on the task inside it",
}
_NO_WRITES = "a control task writes no table: put it on the task that does"
_NO_EXPECT = "statements about tables belong to the task that writes them"
#: Fields of the for_each that the task inside it cannot have.
_OF_FOR_EACH = ("depends_on", "disabled", "run_if")


def config(checker: Checker, task: Map, field: str, kind: str, plain: dict[str, Any]) -> dict[str, Any]:
    """Check a control task and return its config; ``plain`` are the other fields of the task."""
    node, name = task.entries[kind + SUFFIX][1], f"{field}.{kind}{SUFFIX}"
    if kind in _NO_RETRIES and plain.get("max_retries"):
        checker.fault(task.entries["max_retries"][1], f"{field}.max_retries", _NO_RETRIES[kind])
    if plain.get("expect"):
        checker.fault(task.entries["expect"][1], f"{field}.expect", _NO_EXPECT)
    for given in ("on_failure", "outputs"):
        if plain.get(given):
            checker.fault(task.entries[given][1], f"{field}.{given}", _NO_WRITES)
    before = len(checker.faults)
    found = checker.fields(node, spec(SHAPES[kind]), name, references=True)
    found.pop("task", None)
    if len(checker.faults) == before and isinstance(node, Map):
        _CHECKS[kind](checker, node, name, found)
    return found


def nested(checker: Checker, node: Map, field: str, plain: dict[str, Any]) -> None:
    """Check what a task may not have because it stands inside a for_each."""
    for name in _OF_FOR_EACH:
        if plain.get(name) not in (None, [], False, "ALL_SUCCESS"):
            message = "has no meaning on the task inside a for_each"
            checker.fault(node.entries[name][1], f"{field}.{name}", message, "put it on the for_each")


def is_loop(checker: Checker, node: Map, field: str) -> bool:
    """Whether the task inside a for_each is one as well, which is noted as a fault."""
    entry = node.entries.get("for_each" + SUFFIX)
    if entry:
        hint = "start another job with run_job_task and iterate there"
        checker.fault(entry[0], f"{field}.for_each{SUFFIX}", "a for_each cannot stand inside a for_each", hint)
    return entry is not None


def _condition(checker: Checker, node: Map, field: str, found: dict[str, Any]) -> None:
    for side in ("left", "right"):
        text = str(found.get(side, ""))
        if found.get("op") in conditions.OF_NUMBERS and "{{" not in text and not conditions.is_number(text):
            checker.fault(
                node.entries[side][1], f"{field}.{side}", f"is not a number, and {found['op']} compares numbers"
            )


def _for_each(checker: Checker, node: Map, field: str, found: dict[str, Any]) -> None:
    given = found.get("inputs")
    if isinstance(given, str) and "{{" in given:
        return
    try:
        loops.inputs_of(given)
    except TaskFailed as error:
        checker.fault(node.entries["inputs"][1], f"{field}.inputs", str(error).partition(": ")[2])


def _run_job(checker: Checker, node: Map, field: str, found: dict[str, Any]) -> None:
    if ("job_id" in found) == ("job_name" in found):
        checker.fault(node, field, "should have either `job_id` or `job_name`", value="")
    for name in ("job_id", "job_name"):
        value = node.get(name)
        if isinstance(value, Scalar) and not is_null(value) and not value.text:
            checker.fault(value, f"{field}.{name}", "should not be empty")


_CHECKS = {"condition": _condition, "for_each": _for_each, "run_job": _run_job}
