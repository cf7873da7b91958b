"""Fill ``${...}`` references: variables, and what a bundle says about itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from wfengine.errors import Fault, JobFileError, did_you_mean, shown
from wfengine.jobfile import databricks
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq, is_null
from wfengine.jobfile.shapes import JobShape, TaskShape
from wfengine.jobfile.source import MAX_ALIASED, MAX_DEPTH, UNSTORABLE

#: Which fields below a mapping are left as they are (None), and which fields below others; a list passes it on.
Keep: TypeAlias = "Mapping[str, Keep | None]"

_REFERENCE = re.compile(r"\$\{([A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+|\[[0-9]{1,9}\])*)\}")
_STEP = re.compile(r"[A-Za-z0-9_-]+")
#: What begins like a reference; it is a fault when it is none.
_BEGUN = re.compile(r"\$\{\s*([A-Za-z][A-Za-z0-9_-]*)\s*[.\[]")
#: Characters of filled text that count as much as one value does.
_CHARACTERS = 16
_ALL: Keep = {}
#: Up to so many known names are listed when none looks like the one that was written.
_FEW = 10


class Known(msgspec.Struct):
    """What references may name."""

    #: The first step of a reference is a key of it.
    tree: Map
    #: Values that nobody writes, by the steps of their reference.
    fixed: dict[tuple[str, ...], str] = {}
    #: What has no value, by the steps of its reference: why, and what to do.
    absent: dict[tuple[str, ...], tuple[str, str]] = {}
    #: What to do about a variable that nobody knows; ``{}`` stands for its name.
    declare: str = "give it with --var {}=VALUE"
    #: Rewrites text that holds references before they are filled.
    respell: Callable[[str], str] | None = None


class _Filled(msgspec.Struct, frozen=True):
    """What a reference named when it was met first."""

    node: Node
    #: Which fields were left as they are; the same object is the same choice.
    keep: Keep
    #: Values, and levels, below it.
    size: int
    height: int


class Resolver:
    """Fills references in nodes; what is filled in is not looked at again.

    A value filled in stands where its reference stands, and what is inside it where it is written: there it is at
    fault, and there its relative paths start.
    """

    def __init__(self, known: Known, checker: Checker) -> None:
        self.known = known
        self.checker = checker
        #: Places whose reference could not be filled, so that nothing else need be said about their values.
        self.unfilled: set[tuple[str, int, int]] = set()
        self._filled: dict[tuple[str, int], _Filled] = {}
        self._trail: list[str] = []
        self._depth = 0
        #: The deepest level since the reference that is being followed.
        self._reach = 0
        self._spent = 0
        self._noted: set[Any] = set()

    def fill(self, node: Node, keep: Keep = _ALL) -> Node:
        """Return ``node`` with its references filled, the same object when it has none; faults are noted.

        Raises JobFileError, with what was noted, when more is filled in than any file needs.
        """
        if isinstance(node, Scalar):
            return self._scalar(node, keep) if "${" in node.text and node.line else node  # see `given`
        if self._trail:
            self._spend(node, 1)
        self._depth += 1
        self._reach = max(self._reach, self._depth)
        try:
            if self._depth > MAX_DEPTH:
                self._note(node, f"is nested more than {MAX_DEPTH} levels deep once its references are filled")
                return node
            return self._map(node, keep) if isinstance(node, Map) else self._seq(node, keep)
        finally:
            self._depth -= 1

    def _map(self, node: Map, keep: Keep) -> Map:
        entries = {}
        changed = False
        for key, (place, value) in node.entries.items():
            below = keep.get(key, _ALL)
            filled = value if below is None else self.fill(value, below)
            changed = changed or filled is not value
            entries[key] = (place, filled)
        return Map(entries, node.line, node.column, node.file) if changed else node

    def _seq(self, node: Seq, keep: Keep) -> Seq:
        items = [self.fill(item, keep) for item in node.items]
        changed = any(new is not old for new, old in zip(items, node.items, strict=True))
        return Seq(items, node.line, node.column, node.file) if changed else node

    def _scalar(self, node: Scalar, keep: Keep) -> Node:
        """Fill a value that is one reference with what it names, whatever that is, and other text with texts."""
        if self.known.respell:
            node = msgspec.structs.replace(node, text=self.known.respell(node.text))
        whole = _REFERENCE.fullmatch(node.text)
        if whole:
            found = self._named(node, whole[1], keep)
            if isinstance(found, Scalar):
                return Scalar(found.text, found.plain, node.line, node.column, node.file)
            if isinstance(found, Map):
                return Map(found.entries, node.line, node.column, node.file)
            return Seq(found.items, node.line, node.column, node.file) if found else node
        text, complete = self._text(node)
        if complete:
            self._malformed(node)
        if text == node.text:
            return node
        plain = node.plain and not is_null(Scalar(text, True, 0, 0))
        return Scalar(text, plain, node.line, node.column, node.file)

    def _text(self, node: Scalar) -> tuple[str, bool]:
        """Return the text of ``node`` with its references filled, and whether all of them could be."""
        parts: list[str] = []
        end = 0
        complete = True
        for match in _REFERENCE.finditer(node.text):
            found = self._named(node, match[1], _ALL)
            if isinstance(found, (Map, Seq)):
                kind = "mapping" if isinstance(found, Map) else "list"
                self._note(node, f"${{{match[1]}}} is a {kind}, which cannot stand inside text", value=node.text)
            text = match[0]
            if isinstance(found, Scalar):
                text = found.text
                self._spend(node, len(text) // _CHARACTERS)
            complete = complete and isinstance(found, Scalar)
            parts += [node.text[end : match.start()], text]
            end = match.end()
        return "".join([*parts, node.text[end:]]), complete

    def _malformed(self, node: Scalar) -> None:
        """Note what begins like a reference to something known and cannot be read as one."""
        rest = _REFERENCE.sub("", node.text)
        begun = next((match for match in _BEGUN.finditer(rest) if match[1] in self.known.tree.entries), None)
        if begun:
            hint = "write it as ${a.b}, without blanks and without another reference inside"
            self._note(node, f"holds the beginning of a ${{{begun[1]}...}} reference only", hint, node.text)

    def _named(self, node: Scalar, name: str, keep: Keep) -> Node | None:
        """Return what the reference ``name`` in ``node`` names, filled; None when that was noted as a fault.

        A reference to nothing of ours, as ``${HOME}``, gives its own text.
        """
        steps = tuple(_STEP.findall(name))
        if len(steps) == 1 or steps[0] not in self.known.tree.entries:
            return self._foreign(node, name, steps)
        if steps in self.known.fixed:
            return Scalar(self.known.fixed[steps], False, node.line, node.column, node.file)
        if name in self._trail:
            self._cycle(node, name)
            return None
        self._spend(node, 1 + len(node.text) // _CHARACTERS)
        known = self._filled.get((name, id(keep)))
        if known is None:
            known = self._followed(node, name, steps, keep)
        else:
            self._spend(node, known.size)
            self._reach = max(self._reach, self._depth + known.height)
            if self._reach > MAX_DEPTH:
                self._note(node, f"is nested more than {MAX_DEPTH} levels deep once its references are filled")
        if known is None or self._reach > MAX_DEPTH:
            self.unfilled.add(_place(node))
            return None
        return known.node

    def _followed(self, node: Scalar, name: str, steps: tuple[str, ...], keep: Keep) -> _Filled | None:
        """Find what a reference names and fill it; kept for the next time, so that doubling costs nothing."""
        reach, spent = self._reach, self._spent
        self._trail.append(name)
        self._depth += 1
        self._reach = self._depth
        try:
            if self._depth > MAX_DEPTH:
                self._note(node, f"references lead on more than {MAX_DEPTH} times", value=node.text)
                return None
            found = self._walk(node, name, steps)
            filled = self.fill(found, keep) if found is not None else None
            if filled is None or (isinstance(filled, Scalar) and _place(filled) in self.unfilled):
                return None
            height = self._reach - self._depth + 1
            known = self._filled[name, id(keep)] = _Filled(filled, keep, self._spent - spent, height)
            return known
        finally:
            self._depth -= 1
            self._reach = max(reach, self._reach)
            self._trail.pop()

    def _foreign(self, node: Scalar, name: str, steps: tuple[str, ...]) -> Node | None:
        hint = did_you_mean(steps[0], self.known.tree.entries) if len(steps) > 1 else ""
        if hint:
            self._note(node, f"${{{name}}} names nothing that is known", hint, node.text)
            return None
        return Scalar(f"${{{name}}}", False, node.line, node.column, node.file)

    def _walk(self, node: Scalar, name: str, steps: tuple[str, ...]) -> Node | None:
        """Go from the top to what ``steps`` name; values on the way may be references themselves."""
        found: Node = self.known.tree
        for index, step in enumerate(steps):
            way = steps[: index + 1]
            if way in self.known.absent:
                self._note(node, *self.known.absent[way], value=node.text)
                return None
            if isinstance(found, Scalar):
                found = self.fill(found)
            inner: Node | None = None
            if isinstance(found, Map):
                inner = found.get(step)
            elif isinstance(found, Seq) and step.isdecimal() and int(step) < len(found.items):
                inner = found.items[int(step)]
            if inner is None and any(fixed[: index + 1] == way for fixed in self.known.fixed):
                inner = Map({}, 0, 0)
            if inner is None:
                if isinstance(found, Scalar) and _place(found) in self.unfilled:
                    return None
                self._unknown(node, name, way, found)
                return None
            found = inner
        return found

    def _unknown(self, node: Scalar, name: str, way: tuple[str, ...], found: Node) -> None:
        here = len(way) - 1
        fixed = [steps[here] for steps in (*self.known.fixed, *self.known.absent) if steps[:here] == way[:here]]
        words = list(dict.fromkeys([*(found.entries if isinstance(found, Map) else ()), *fixed]))
        if way[0] == "var" and len(way) == 2:
            hint = did_you_mean(way[1], words) or self.known.declare.format(way[1])
            self._note(node, f"the variable {way[1]!r} has no value", hint, node.text)
            return
        few = f"known are {', '.join(words)}" if 0 < len(words) <= _FEW else ""
        message = f"${{{name}}} names nothing: {'.'.join(way[:-1])} has no {way[-1]!r}"
        self._note(node, message, did_you_mean(way[-1], words) or few, node.text)

    def _cycle(self, node: Scalar, name: str) -> None:
        cycle = self._trail[self._trail.index(name) :]
        self.unfilled.add(_place(node))
        if frozenset(cycle) not in self._noted:
            self._noted.add(frozenset(cycle))
            self._note(node, f"references name each other: {' -> '.join([*cycle, name])}", value=node.text)

    def _spend(self, node: Node, amount: int) -> None:
        """Count what is filled in and give up when it is beyond what any file needs."""
        self._spent += amount
        if self._spent > MAX_ALIASED:
            self._note(node, f"references stand for more than {MAX_ALIASED} values", "write the values out")
            raise JobFileError(self.checker.faults)

    def _note(self, node: Node, message: str, hint: str = "", value: str = "") -> None:
        """Note a fault once at its place, and that the value there stays unfilled."""
        self.unfilled.add(_place(node))
        if (_place(node), message) not in self._noted:
            self._noted.add((_place(node), message))
            self.checker.fault(node, "", message, hint, value)


def _place(node: Node) -> tuple[str, int, int]:
    return node.file, node.line, node.column


def without_effect(layers: Mapping[str, Any]) -> Keep:
    """Return the fields of a job in which no reference is filled, for nothing reads them.

    So a variable that names a cluster or a warehouse needs no value here.
    """
    task: dict[str, Keep | None] = dict.fromkeys(databricks.IGNORED[TaskShape])
    for kind, names in databricks.CONFIG_IGNORED.items():
        task[f"{kind}_task"] = dict.fromkeys(names)
    task.update({f"{kind}_task": None for kind in databricks.UNSUPPORTED if kind not in layers})
    task["for_each_task"] = {"task": task}
    return {**dict.fromkeys(databricks.IGNORED[JobShape]), "tasks": task}


def given(checker: Checker, variables: Mapping[str, str]) -> dict[str, tuple[Scalar, Node]]:
    """Return values that somebody gave outside any file as the entries of a mapping.

    They have no place, and references in them are text.
    """
    found: dict[str, tuple[Scalar, Node]] = {}
    for name, text in variables.items():
        if UNSTORABLE.search(text):
            message = f"the value given for the variable {name!r} contains a character that cannot be stored"
            checker.faults.append(Fault(path=checker.path, value=shown(text), message=shown(message, 200)))
        plain = not is_null(Scalar(text, True, 0, 0))  # what looks like nothing is text all the same
        found[name] = (Scalar(name, False, 0, 0), Scalar(text, plain, 0, 0))
    return found
