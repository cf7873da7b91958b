"""The job file as a JSON Schema for editors, and as the tables of its documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from wfengine.jobfile import controls, databricks, timing
from wfengine.jobfile.kinds import SUFFIX, unused_fields
from wfengine.jobfile.shapes import (
    ContinuousShape,
    EmailShape,
    ExpectationShape,
    ForEachShape,
    JobShape,
    RunJobShape,
    ScheduleShape,
    TaskShape,
    TriggerShape,
    WebhooksShape,
)
from wfengine.jobfile.typeinfo import described, flat, spec
from wfengine.layer import Layer

_ANY_TEXT = ["string", "number", "boolean"]
_REFERENCE = {"type": "string", "pattern": r"\{\{"}
_NOTHING = {"type": "null"}
#: Shapes of which one of several sets of fields must be there.
_ONE_OF: dict[type, list[list[str]]] = {
    ScheduleShape: [[name] for name in timing.EXPRESSIONS],
    TriggerShape: [[name] for name in timing.TRIGGERS],
    ExpectationShape: [["query"], ["table", "where"]],
    RunJobShape: [["job_id"], ["job_name"]],
}
#: Fields whose values are checked by themselves, and what they are.
_CHECKED_ELSEWHERE = {"tasks": "a list", "task": "a mapping"}
#: The field that a shape with ignored fields stands in.
_FIELD_OF: dict[type, str] = {
    ContinuousShape: "continuous",
    EmailShape: "email_notifications",
    WebhooksShape: "webhook_notifications",
}


def schema(layers: Mapping[str, type[Layer[Any]]]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of job files whose tasks may be of the kinds ``layers``.

    It allows what `read` allows except for what needs more than one place of the file: keys, dependencies, references.
    """
    configs = {name: layer.Config for name, layer in layers.items()}
    shapes = [JobShape, TaskShape, *controls.SHAPES.values()]
    _, parts = msgspec.json.schema_components(shapes, ref_template="#/$defs/{name}")
    found, of_layers = msgspec.json.schema_components(
        list(configs.values()), ref_template="#/$defs/layers/$defs/{name}"
    )
    references = dict(zip(configs, found, strict=True))
    filled = {shape.__name__ for shape in controls.SHAPES.values()}
    for name, part in parts.items():
        _loosen(part, reference=name in filled)
    for part in of_layers.values():
        _loosen(part, reference=True)
    for name, reference in references.items():
        _ignore(of_layers[reference["$ref"].rpartition("/")[2]], unused_fields(layers[name]))
    for shape, names in databricks.IGNORED.items():
        _ignore(parts[shape.__name__], names)
    for shape, choices in _ONE_OF.items():
        parts[shape.__name__]["oneOf"] = [{"required": choice} for choice in choices]
    own = {kind: {"$ref": f"#/$defs/{shape.__name__}"} for kind, shape in controls.SHAPES.items()}
    _kinds(parts[TaskShape.__name__], {**references, **own})
    parts[ForEachShape.__name__]["properties"]["task"] |= {"$ref": f"#/$defs/{TaskShape.__name__}"}
    job = parts[JobShape.__name__]
    job["properties"]["tasks"]["items"] = {"$ref": f"#/$defs/{TaskShape.__name__}"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wfengine job file",
        "anyOf": [{"$ref": f"#/$defs/{JobShape.__name__}"}, _wrapped()],
        "$defs": {**parts, "layers": {"$defs": of_layers}},
    }


def _kinds(task: dict[str, Any], references: Mapping[str, Any]) -> None:
    """Let a task be exactly one of the kinds."""
    for name, reference in references.items():
        task["properties"][name + SUFFIX] = reference
    if references:
        task["oneOf"] = [{"required": [name + SUFFIX]} for name in references]


def _wrapped() -> dict[str, Any]:
    """Describe what ``databricks jobs get`` prints: the job below ``settings``."""
    around: dict[str, Any] = {"settings": {"$ref": f"#/$defs/{JobShape.__name__}"}}
    part = {"type": "object", "properties": around, "required": ["settings"], "additionalProperties": False}
    _ignore(part, databricks.IGNORED[JobShape])
    return part


def _ignore(part: dict[str, Any], names: Iterable[str]) -> None:
    for name in sorted(names):
        part.setdefault("properties", {}).setdefault(name, {})["description"] = "Has no effect here."


def _loosen(part: Any, *, reference: bool) -> None:
    """Allow in place what the reader allows beyond the types: text without quotes, nothing, references."""
    if isinstance(part, list):
        for item in part:
            _loosen(item, reference=reference)
        return
    if not isinstance(part, dict):
        return
    for key, inner in part.items():
        if key not in ("default", "enum", "const", "required", "propertyNames"):
            _loosen(list(inner.values()) if key == "properties" else inner, reference=reference)
    if "true" in part.get("enum", ()):
        part["enum"] = [*part["enum"], True, False]
    if part.get("type") == "string":
        part["type"] = _ANY_TEXT
    elif reference and (part.get("type") in ("integer", "number", "boolean") or "enum" in part):
        _or(part, _REFERENCE)
    if "properties" in part:
        part["additionalProperties"] = False
        optional = part["properties"].keys() - set(part.get("required", ()))
        for name in optional:
            _or(part["properties"][name], _NOTHING)


def _or(part: dict[str, Any], other: dict[str, str]) -> None:
    """Allow in place that ``part`` is ``other`` instead; what it says about itself stays where it is."""
    if "anyOf" not in part:
        part["anyOf"] = [{key: part.pop(key) for key in list(part) if key not in ("default", "description")}]
    if other not in part["anyOf"]:
        part["anyOf"].append(other)


def field_table(shape: type[msgspec.Struct]) -> str:
    """Write the fields of a shape as a Markdown table."""
    lines = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for field in spec(shape).fields:
        kinds = dict.fromkeys(described(kind) for kind in flat(field.type) if not isinstance(kind, inspect.NoneType))
        extra = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
        meaning = (extra or {}).get("description", "")
        value = _CHECKED_ELSEWHERE.get(field.name) or " or ".join(kinds)
        lines.append(f"| `{field.encode_name}` | {value} | {_default(field)} | {meaning} |")
    return "\n".join(lines)


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    plain = field.default if field.default is not msgspec.NODEFAULT else None
    if plain in (None, ""):
        return ""
    return f"`{msgspec.json.encode(plain).decode().strip(chr(34))}`"


def ignored_table() -> str:
    """Write the fields that are accepted and have no effect as a Markdown table."""
    places = {
        "job": databricks.IGNORED[JobShape],
        "task": databricks.IGNORED[TaskShape],
        **{f"`{kind}_task`": names for kind, names in databricks.CONFIG_IGNORED.items()},
    }
    for shape, names in databricks.IGNORED.items():
        if shape not in (JobShape, TaskShape):
            places[f"`{_FIELD_OF[shape]}`"] = names
    rows = [f"| {place} | {', '.join(f'`{name}`' for name in sorted(names))} |" for place, names in places.items()]
    return "\n".join(["| where | fields |", "|---|---|", *rows])
