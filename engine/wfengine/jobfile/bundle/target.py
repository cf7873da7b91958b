"""Choose a bundle's target and let it change the jobs."""

from __future__ import annotations

from typing import Any

from wfengine.errors import Fault, JobFileError, shown
from wfengine.jobfile.bundle.overlay import RESOURCES, merge
from wfengine.jobfile.bundle.shapes import IGNORED, PresetsShape, TargetShape
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar, is_null
from wfengine.jobfile.timing import STARTERS
from wfengine.jobfile.typeinfo import spec

#: Name of the target of a bundle that has none.
NO_TARGET = "default"
#: Runs of one job at the same time in development mode, as the Databricks CLI sets it.
_DEVELOPMENT_RUNS = 4


def choose(checker: Checker, targets: Map, wanted: str | None) -> tuple[str, Map]:
    """Return the name of the target and what it says: the one wanted, the default one, or the only one.

    Raises JobFileError, with what was noted before, when there is no telling which.
    """
    found = {name: _checked(checker, name, node) for name, (_, node) in targets.entries.items()}
    if wanted is not None:
        if wanted not in found and not (wanted == NO_TARGET and not found):
            hint = checker.suggest(wanted, found, f"known are {', '.join(map(shown, found))}" if found else "")
            raise _stop(checker, targets, f"there is no target {shown(wanted)!r}", hint)
        return wanted, found.get(wanted, _nothing(checker))
    marked = [name for name, node in found.items() if _is_default(node)]
    names = marked or list(found)
    if not names:
        return NO_TARGET, _nothing(checker)
    if len(names) > 1:
        why = "has more than one target with `default: true`" if marked else "has several targets and no default"
        raise _stop(checker, targets, why, f"choose one with --target: {', '.join(map(shown, names))}")
    return names[0], found[names[0]]


def overlaid(checker: Checker, sections: dict[str, Map], name: str, target: Map) -> dict[str, Map]:
    """Return the sections with those of the target laid over them; variables are another matter."""
    for key in target.entries:
        if key in IGNORED[TargetShape]:
            checker.ignored.append((f"targets.{name}.{key}", target.entries[key][0]))
    together = dict(sections)
    for section in ("bundle", "workspace", "presets", "resources"):
        over = target.get(section)
        if isinstance(over, Map):
            rule = RESOURCES if section == "resources" else {}
            merged = merge(checker, sections[section], over, section, rule)
            together[section] = merged if isinstance(merged, Map) else sections[section]
    return together


def presets(checker: Checker, node: Node, target: Map, short_name: str) -> dict[str, Any]:
    """Return what changes in every job: the mapping ``presets``, and by the mode what it does not say."""
    mode = target.get("mode")
    plain = checker.fields(node, spec(PresetsShape), "presets", ignored=IGNORED[PresetsShape])
    if isinstance(mode, Scalar) and mode.text == "development":
        preset = {
            "name_prefix": f"[dev {short_name}] ",
            "trigger_pause_status": "PAUSED",
            "jobs_max_concurrent_runs": _DEVELOPMENT_RUNS,
        }
        plain = {**preset, **plain}
    return plain


def preset(job: Map, key: str, values: dict[str, Any]) -> Map:
    """Return the job with its presets; what it says itself about pausing and concurrent runs stays."""
    entries = dict(job.entries)
    name = job.get("name")
    if name is None or is_null(name):
        name = Scalar(key, False, job.line, job.column, job.file)
    if isinstance(name, Scalar):
        text = f"{values.get('name_prefix', '')}{name.text}"
        entries["name"] = (name, Scalar(text, False, name.line, name.column, name.file))
    runs = values.get("jobs_max_concurrent_runs")
    if runs:
        entries.setdefault("max_concurrent_runs", _written(job, "max_concurrent_runs", str(runs)))
    pause = values.get("trigger_pause_status")
    for starter in STARTERS:
        node = job.get(starter)
        if pause and isinstance(node, Map) and is_null(node.get("pause_status") or Scalar("", True, 0, 0)):
            inner = {**node.entries, "pause_status": _written(node, "pause_status", pause)}
            entries[starter] = (entries[starter][0], Map(inner, node.line, node.column, node.file))
    return Map(entries, job.line, job.column, job.file)


def _written(at: Map, key: str, text: str) -> tuple[Scalar, Scalar]:
    return Scalar(key, True, at.line, at.column, at.file), Scalar(text, True, at.line, at.column, at.file)


def _checked(checker: Checker, name: str, node: Node) -> Map:
    """Check the shape of one target; the names it ignores are told of the chosen one only."""
    if is_null(node):
        return _nothing(checker)
    before = len(checker.ignored)
    checker.fields(node, spec(TargetShape), f"targets.{name}", ignored=IGNORED[TargetShape])
    del checker.ignored[before:]
    return node if isinstance(node, Map) else _nothing(checker)


def _is_default(node: Map) -> bool:
    mark = node.get("default")
    return isinstance(mark, Scalar) and mark.plain and mark.text.lower() == "true"


def _nothing(checker: Checker) -> Map:
    return Map({}, 1, 1, checker.path)


def _stop(checker: Checker, at: Map, message: str, hint: str) -> JobFileError:
    fault = Fault(path=at.file, line=at.line, column=at.column, field="targets", message=message, hint=hint)
    return JobFileError([*checker.faults, fault])
