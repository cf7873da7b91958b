"""The values of a bundle's variables: given, from the environment, of the target, or the default."""

from __future__ import annotations

from collections.abc import Mapping

from wfengine.errors import Fault, shown
from wfengine.jobfile.bundle.shapes import VariableShape
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar, is_null
from wfengine.jobfile.references import Known, given
from wfengine.jobfile.typeinfo import fields_of, spec

#: An environment variable with this before a variable's name gives its value.
PREFIX = "BUNDLE_VAR_"


def values(
    checker: Checker, declared: Map, target: Map, variables: Mapping[str, str], environ: Mapping[str, str]
) -> Known:
    """Find the value of each variable; ``variables`` beat ``environ``, the target's values, and the defaults.

    ``target`` holds what the target says about them. The result has the tree ``var`` and why values are absent.
    """
    _undeclared(checker, declared, target, variables)
    known: dict[str, tuple[Scalar, Node]] = {}
    absent: dict[tuple[str, ...], tuple[str, str]] = {}
    for name, (place, described) in declared.entries.items():
        complex_ = _declared(checker, name, described)
        text = variables.get(name, environ.get(PREFIX + name))
        if text is not None and complex_:
            message = f"the variable {name!r} is complex and is given as text"
            checker.fault(place, f"variables.{name}", message, "write its value in a file of the bundle", text)
        elif text is not None:
            known.update(given(checker, {name: text}))
            continue
        node = _default(_full(target.get(name))) or _default(described)
        if node is None:
            absent["var", name] = _why(name, _full(target.get(name)), described)
        else:
            if not complex_ and not isinstance(node, Scalar):
                checker.fault(node, f"variables.{name}", "is no text or number", "declare it with `type: complex`")
            known[name] = (place, node)
    tree = Map({"var": (Scalar("var", False, 0, 0), Map(known, 0, 0))}, 0, 0)
    return Known(tree, absent=absent, declare="declare {} below `variables`")


def _undeclared(checker: Checker, declared: Map, target: Map, variables: Mapping[str, str]) -> None:
    for name in variables:
        if name not in declared.entries:
            hint = checker.suggest(name, declared.entries)
            message = f"--var gives a value to {shown(name)!r}, and there is no such variable"
            checker.faults.append(Fault(path=checker.path, message=message, hint=hint))
    for name, (place, _) in target.entries.items():
        if name not in declared.entries:
            hint = checker.suggest(name, declared.entries, "declare it below `variables`")
            checker.fault(place, name, "is given a value by the target, and there is no such variable", hint)


def _declared(checker: Checker, name: str, described: Node) -> bool:
    """Check the declaration of a variable and say whether its type is complex."""
    if is_null(described):
        return False
    return checker.fields(described, spec(VariableShape), f"variables.{name}").get("type") == "complex"


def _full(node: Node | None) -> Node | None:
    """Read what a target says of a variable: a value may stand for the mapping with that `default`."""
    if node is None or is_null(node):
        return None
    if isinstance(node, Map) and node.entries and node.entries.keys() <= fields_of(VariableShape).keys():
        return node
    return Map({"default": (Scalar("default", False, node.line, node.column, node.file), node)}, 0, 0)


def _default(described: Node | None) -> Node | None:
    node = described.get("default") if isinstance(described, Map) else None
    return None if node is None or is_null(node) else node


def _why(name: str, *described: Node | None) -> tuple[str, str]:
    hint = f"give it with --var {name}=VALUE or {PREFIX}{name}"
    if any(isinstance(node, Map) and "lookup" in node.entries for node in described):
        return f"the variable {name!r} is looked up in a workspace, which has no effect here", hint
    return f"the variable {name!r} has no value", f"{hint}, or give it a `default`"
