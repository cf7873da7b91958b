"""Read YAML and JSON strictly into nodes: nothing is guessed, repeated, expanded without bound or lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import yaml

from wfengine.errors import Fault, JobFileError, shown
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 100
#: Nodes that all aliases of a file may stand for; the usual bomb stands for billions.
MAX_ALIASED = 250_000

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
#: JSON writes characters beyond 16 bits as a pair of escapes, which YAML does not know.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path) -> tuple[Node, list[Fault]]:
    """Read the file at ``path`` (YAML or JSON) and return its value with the faults that did not stop the reading.

    Raises JobFileError when the file cannot be read or not be understood at all.
    """
    try:
        if not path.is_file():
            raise _stop(str(path), "there is no such file" if not path.exists() else "is not a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _stop(str(path), f"cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise _stop(str(path), f"is larger than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _stop(str(path), "is not UTF-8 text", line, 1, "save it as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, path: str) -> tuple[Node, list[Fault]]:
    """Read YAML or JSON text; ``path`` is named in the faults. Returns and raises as `load` does."""
    bad = _FORBIDDEN.search(text)
    if bad:
        line, column = _position(text, bad.start())
        raise _stop(path, f"contains the control character {shown(bad[0])}", line, column, "remove it")
    start = len(text) - len(text.lstrip())
    if text.startswith(("{", "["), start):  # JSON: tabs may stand before it, and escapes come in pairs
        text = text[:start].replace("\t", " ") + _PAIR.sub(_joined, text[start:])
    builder = _Builder(path)
    loader = _LOADER(text)
    try:
        while (event := loader.get_event()) is not None:
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise JobFileError([*builder.faults, _syntax(path, text, error)]) from None
    except yaml.YAMLError as error:
        raise JobFileError(
            [*builder.faults, Fault(path=path, message=f"is not valid YAML: {shown(str(error))}")]
        ) from None
    finally:
        loader.dispose()
    if builder.root is None:
        raise _stop(path, "is empty", hint="a job file is a mapping with `name` and `tasks`")
    return builder.root, builder.faults


class _Open:
    """A list or mapping whose end was not reached yet."""

    __slots__ = ("anchor", "height", "key", "merges", "node", "size")

    def __init__(self, node: Map | Seq, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Scalar | None = None
        self.merges: list[Map] = []
        self.size = 1
        self.height = 1


class _Builder:
    """Builds nodes from the parser's events without recursion."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.faults: list[Fault] = []
        self.root: Node | None = None
        self._stack: list[_Open] = []
        #: Node, number of nodes below it, and levels below it, by anchor.
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._aliased = 0
        self._documents = 0
        self._steps = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._start,
            yaml.SequenceStartEvent: self._start,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }

    def take(self, event: Any) -> None:
        """Take the next event; raises JobFileError when the rest of the file is not worth reading."""
        step = self._steps.get(type(event))
        if step:
            step(event)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._give_up(event, "holds more than one document", "keep one job per file")

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        node = Scalar(event.value, not event.style, mark.line + 1, mark.column + 1, self.path)
        self._refuse_tag(event)
        if event.style == '"' and UNSTORABLE.search(event.value):
            self._fault(node, "contains a character that cannot be stored", shown(event.value))
        if event.anchor:
            self._anchors[event.anchor] = (node, 1, 1)
        self._add(node, 1, 1)

    def _start(self, event: Any) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._give_up(event, f"is nested more than {MAX_DEPTH} levels deep")
        self._refuse_tag(event)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        mapping = type(event) is yaml.MappingStartEvent
        node = Map({}, line, column, self.path) if mapping else Seq([], line, column, self.path)
        if event.anchor:
            self._anchors.pop(event.anchor, None)
        self._stack.append(_Open(node, event.anchor))

    def _end(self, event: Any) -> None:
        done = self._stack.pop()
        if isinstance(done.node, Map):
            for merged in done.merges:
                for key, entry in merged.entries.items():
                    done.node.entries.setdefault(key, entry)
        if done.anchor:
            self._anchors[done.anchor] = (done.node, done.size, done.height)
        self._add(done.node, done.size, done.height)

    def _alias(self, event: Any) -> None:
        known = self._anchors.get(event.anchor)
        if known is None:
            self._give_up(event, f"*{shown(event.anchor)} names no anchor that is complete at this place")
        node, size, height = known
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            self._give_up(event, f"aliases stand for more than {MAX_ALIASED} values", "write the values out")
        if len(self._stack) + height > MAX_DEPTH:
            self._give_up(event, f"is nested more than {MAX_DEPTH} levels deep")
        self._add(node, size, height)

    def _add(self, node: Node, size: int, height: int) -> None:
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        top.size += size
        top.height = max(top.height, height + 1)
        if isinstance(top.node, Seq):
            top.node.items.append(node)
        elif top.key is None:
            top.key = self._key(node)
        else:
            key, top.key = top.key, None
            self._put(top, key, node)

    def _key(self, node: Node) -> Scalar:
        if isinstance(node, Scalar):
            return node
        hint = "put quotes around a value that begins with {{" if isinstance(node, Map) else ""
        self._fault(node, "a mapping or list cannot be a key", hint=hint)
        return Scalar("", False, node.line, node.column)

    def _put(self, top: _Open, key: Scalar, node: Node) -> None:
        assert isinstance(top.node, Map)  # noqa: S101 - only mappings have keys; tells the type checker
        if key.text == "<<" and key.plain:
            self._merge(top, node)
        elif key.text in top.node.entries:
            first = top.node.entries[key.text][0].line
            self._fault(
                key, f"the key {shown(key.text)!r} stands here for the second time, first in line {first}", key.text
            )
        else:
            top.node.entries[key.text] = (key, node)

    def _merge(self, top: _Open, node: Node) -> None:
        for part in node.items if isinstance(node, Seq) else [node]:
            if isinstance(part, Map):
                top.merges.append(part)
            else:
                self._fault(part, "<< merges mappings only")

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            mark = event.start_mark
            place = Scalar("", True, mark.line + 1, mark.column + 1)
            self._fault(place, f"the tag {shown(event.tag)} is not allowed", hint="remove it; use quotes for text")

    def _fault(self, node: Node, message: str, value: str = "", hint: str = "") -> None:
        self.faults.append(
            Fault(path=self.path, line=node.line, column=node.column, value=shown(value), message=message, hint=hint)
        )

    def _give_up(self, event: Any, message: str, hint: str = "") -> NoReturn:
        mark = event.start_mark
        fault = Fault(path=self.path, line=mark.line + 1, column=mark.column + 1, message=message, hint=hint)
        raise JobFileError([*self.faults, fault])


def _joined(pair: re.Match[str]) -> str:
    high, low = int(pair[2], 16), int(pair[3], 16)
    return f"{pair[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _syntax(path: str, text: str, error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    lines = text.splitlines()
    content = lines[line - 1] if 0 < line <= len(lines) else ""
    hint = ""
    if "\t" in content[: len(content) - len(content.lstrip())]:
        hint = "indent with spaces; a tab is not allowed there"
    elif "{{" in content:
        hint = "put quotes around a value that begins with {{"
    why = ", ".join(part for part in (error.context, error.problem) if part)
    return Fault(path=path, line=line, column=column, message=f"is not valid YAML: {why}", hint=hint)


def _position(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _stop(path: str, message: str, line: int = 0, column: int = 0, hint: str = "") -> JobFileError:
    return JobFileError([Fault(path=path, line=line, column=column, message=message, hint=hint)])
