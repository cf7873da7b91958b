"""Lay what a target says over what the bundle says, by the rules of the Databricks CLI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq, is_null

#: The field by which the entries of a list are known, or the rules for the fields of a mapping; ``*`` is any field.
Rule: TypeAlias = "str | Mapping[str, Rule]"

#: Lists of a job whose entries merge; all others are put one behind the other.
RESOURCES: Rule = {
    "jobs": {
        "*": {
            "tasks": "task_key",
            "job_clusters": "job_cluster_key",
            "parameters": "name",
            "environments": "environment_key",
        }
    }
}


def merge(checker: Checker, base: Node, over: Node, field: str, rule: Rule = {}) -> Node:  # noqa: B006 - never changed
    """Return ``base`` with ``over`` laid over it; neither is changed.

    Mappings merge field by field, lists are appended, other values are replaced, nothing (null) replaces nothing.
    Two values of different kinds are a fault at the second.
    """
    if is_null(over):
        return base
    if is_null(base):
        return over
    if isinstance(base, Map) and isinstance(over, Map):
        entries = dict(base.entries)
        for key, (place, value) in over.entries.items():
            if key in entries:
                below = {} if isinstance(rule, str) else rule.get(key, rule.get("*", {}))
                first, old = entries[key]
                entries[key] = (first, merge(checker, old, value, f"{field}.{key}", below))
            else:
                entries[key] = (place, value)
        return Map(entries, base.line, base.column, base.file)
    if isinstance(base, Seq) and isinstance(over, Seq):
        items = _by_key(checker, base, over, field, rule) if isinstance(rule, str) else [*base.items, *over.items]
        return Seq(items, base.line, base.column, base.file)
    if isinstance(base, Scalar) and isinstance(over, Scalar):
        return over
    message = f"is a {_kind(over)} here and a {_kind(base)} in {base.file}:{base.line}, which cannot be merged"
    checker.fault(over, field, message, "write both in the same form")
    return base


def _by_key(checker: Checker, base: Seq, over: Seq, field: str, key: str) -> list[Node]:
    """Merge each entry of ``over`` into the first of ``base`` with the same ``key``, or append it."""
    items = list(base.items)
    places: dict[str, int] = {}
    for index, item in enumerate(items):
        name = item.get(key) if isinstance(item, Map) else None
        if isinstance(name, Scalar):
            places.setdefault(name.text, index)
    for item in over.items:
        name = item.get(key) if isinstance(item, Map) else None
        at = places.get(name.text) if isinstance(name, Scalar) else None
        if at is None:
            items.append(item)
        else:
            items[at] = merge(checker, items[at], item, f"{field}[{at}]")
    return items


def _kind(node: Node) -> str:
    return "mapping" if isinstance(node, Map) else "list" if isinstance(node, Seq) else "single value"
