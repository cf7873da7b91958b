"""Find the layer of a task and check its ``<kind>_task`` against the layer's config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from wfengine.jobfile import databricks
from wfengine.jobfile.check import Checker
from wfengine.jobfile.config import dotted, explained, steps_of
from wfengine.jobfile.nodes import Map, Node, locate
from wfengine.jobfile.typeinfo import spec
from wfengine.jobs import CONTROL
from wfengine.layer import Layer

SUFFIX = "_task"


def choose(checker: Checker, node: Map, field: str, layers: Mapping[str, type[Layer[Any]]]) -> str:
    """Return the kind of a task, the ``<kind>`` of its only ``<kind>_task``; empty when that is at fault."""
    keys = [key for key in node.entries if key.endswith(SUFFIX)]
    if not keys:
        known = ", ".join(f"{name}{SUFFIX}" for name in (*layers, *sorted(CONTROL)))
        checker.fault(
            node,
            field,
            "needs a `<kind>_task` that says what to do",
            f"give it one of {known}" if known else "",
            value="",
        )
        return ""
    if len(keys) > 1:
        place = node.entries[keys[1]][0]
        checker.fault(place, field, f"has more than one kind: {', '.join(keys)}", "split it into several tasks")
        return ""
    kind = keys[0].removesuffix(SUFFIX)
    if kind in layers or kind in CONTROL:
        return kind
    place = node.entries[keys[0]][0]
    name = f"{field}.{keys[0]}"
    if kind in databricks.UNSUPPORTED:
        checker.refuse(place, name, databricks.UNSUPPORTED[kind])
    else:
        hint = checker.suggest(
            kind, (*layers, *databricks.BUILT_IN, *CONTROL), f"loaded are {', '.join(sorted(layers)) or 'none'}"
        )
        missing = f"no layer plugin named {kind!r} is loaded"
        optional = kind in databricks.OPTIONAL
        checker.fault(place, name, f"{keys[0]} is not supported yet: {missing}" if optional else missing, hint)
    return kind


def config(checker: Checker, node: Node, field: str, layer: type[Layer[Any]], folder: Path) -> dict[str, Any]:
    """Check the mapping of a ``<kind>_task`` and return it as plain data.

    What holds references where no text may stand is checked by `config.convert_config` in the run, when they are known.
    """
    before = len(checker.faults)
    checker.deferred = False
    given = spec(layer.Config)
    plain = checker.fields(node, given, field, ignored=unused_fields(layer), references=True)
    if len(checker.faults) == before and not checker.deferred:
        _convert(checker, node, field, layer, plain, folder)
    return plain


def unused_fields(layer: type[Layer[Any]]) -> frozenset[str]:
    """Return the fields of Databricks that the config of this layer may hold although nothing reads them."""
    own = {known.encode_name for known in spec(layer.Config).fields}
    return databricks.CONFIG_IGNORED.get(layer.name, frozenset()) - own


def _convert(
    checker: Checker, node: Node, field: str, layer: type[Layer[Any]], plain: dict[str, Any], folder: Path
) -> None:
    """Make the config and let the layer look at it."""
    try:
        made = msgspec.convert(plain, layer.Config, str_keys=True)
    except msgspec.ValidationError as error:
        message, steps = explained(error)
        checker.fault(locate(node, steps), dotted(field, steps), message)
        return
    try:
        found = list(layer.check(made, folder))
    except Exception as error:  # noqa: BLE001 - a plugin's own mistake must not hide the other faults of the file
        message = f"the check of the layer {layer.name} failed: {type(error).__name__}: {error}"
        checker.fault(node, field, message, "tell the plugin's author", value="")
        return
    for name, message in found:
        steps = steps_of(name)
        checker.fault(locate(node, steps), dotted(field, steps), message)
