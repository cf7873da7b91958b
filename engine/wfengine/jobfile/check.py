"""Check nodes against typed structs: every fault is noted with its place, and plain JSON data comes out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from msgspec import inspect

from wfengine.errors import Fault, did_you_mean, shown
from wfengine.jobfile import databricks
from wfengine.jobfile.nodes import Map, Node, Scalar, Seq, is_huge, is_null, natural
from wfengine.jobfile.shapes import PATTERNS
from wfengine.jobfile.typeinfo import (
    CHOICES,
    FIELDED,
    LISTS,
    SCALARS,
    Fielded,
    described,
    fields_of,
    flat,
    matches,
    options_of,
)

#: Words that are compared for suggestions in one file, so that a large and wholly wrong one is still refused at once.
_COMPARISONS = 30_000
#: Characters of a sentence; the names of a long cycle need many.
_LONGEST = 10_000
#: Up to so many known names are listed when none looks like the one that was written.
_FEW = 10


class Checker:
    """Collects the faults of one file while its nodes are compared with what they should be."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.faults: list[Fault] = []
        #: What is right on Databricks and cannot run here.
        self.unsupported: list[Fault] = []
        #: Fields that are accepted and have no effect here, with the places of their keys.
        self.ignored: list[tuple[str, Scalar]] = []
        #: Set when a reference stands where no text may stand, so that its value is known in a run only.
        self.deferred = False
        self._compared = 0

    def fault(self, node: Node, field: str, message: str, hint: str = "", value: str | None = None) -> None:
        """Note one fault at the place of ``node``; ``value`` None shows the scalar itself."""
        self.faults.append(self._fault(node, field, message, hint, value))

    def refuse(self, node: Node, field: str, message: str) -> None:
        """Note at the place of ``node`` what Databricks runs and this engine does not."""
        self.unsupported.append(self._fault(node, field, message))

    def _fault(self, node: Node, field: str, message: str, hint: str = "", value: str | None = None) -> Fault:
        if value is None:
            value = node.text if isinstance(node, Scalar) else ""
        return Fault(
            path=node.file or self.path,
            line=node.line,
            column=node.column,
            field=shown(field, 200),
            value=shown(value),
            message=shown(message, _LONGEST),
            hint=shown(hint, _LONGEST),
        )

    def suggest(self, word: str, known: Iterable[str], otherwise: str = "") -> str:
        """Return ``did you mean 'x'?`` for the known word nearest to ``word``, else ``otherwise``."""
        words = list(known)
        self._compared += len(words)
        return (did_you_mean(word, words) if self._compared <= _COMPARISONS else "") or otherwise

    def fields(
        self,
        node: Node,
        want: Fielded,
        field: str,
        *,
        ignored: Collection[str] = (),
        others: Collection[str] = (),
        references: bool = False,
    ) -> dict[str, Any]:
        """Check a mapping against the fields of ``want`` and return those that are given, as plain data.

        Nothing written (null) for a field that has a default counts as not given. ``ignored`` are names that are
        accepted and have no effect, for a struct that `databricks.IGNORED` does not list; ``others`` are further
        names to suggest for an unknown one.
        """
        if not isinstance(node, Map):
            self._mismatch(node, (want,), field)
            return {}
        known = fields_of(want.cls)
        ignored = ignored or databricks.IGNORED.get(want.cls, ())
        plain: dict[str, Any] = {}
        for key, (place, value) in node.entries.items():
            name = f"{field}.{key}" if field else key
            spec = known.get(key)
            if key in ignored and (spec is None or want.cls in databricks.IGNORED):
                self.ignored.append((name, place))
            elif spec is None:
                self._unknown(place, name, want, others)
            if spec is not None and (spec.required or not is_null(value)):
                plain[key] = self.value(value, spec.type, name, references=references)
        for key, spec in known.items():
            if spec.required and key not in node.entries:
                self.fault(node, f"{field}.{key}" if field else key, "is missing", value="")
        if isinstance(want, inspect.StructType) and want.tag_field and want.tag_field in node.entries:
            plain[want.tag_field] = want.tag
        return plain

    def value(self, node: Node, want: inspect.Type, field: str, *, references: bool = False) -> Any:
        """Check ``node`` against the type ``want`` and return it as plain data; faults are noted, not raised.

        With ``references``, text that holds ``{{`` may stand anywhere and sets `deferred` where it is no text yet.
        """
        wants = tuple(flat(want))
        if any(isinstance(option, inspect.AnyType) for option in wants):
            return self._anything(node, field)
        if any(isinstance(option, inspect.RawType) for option in wants):
            return None  # whoever declared it checks it
        if isinstance(node, Scalar):
            return self._scalar(node, wants, field, references)
        if isinstance(node, Seq):
            return self._sequence(node, wants, field, references)
        return self._mapping(node, wants, field, references)

    def _unknown(self, place: Scalar, name: str, want: Fielded, others: Collection[str]) -> None:
        if isinstance(want, inspect.StructType) and want.tag_field == place.text:
            return
        known = [*fields_of(want.cls), *others]
        reason = databricks.REFUSED.get(want.cls, {}).get(place.text)
        if reason:
            self.refuse(place, name, reason)
        else:
            few = f"known are {', '.join(sorted(known))}" if 0 < len(known) < _FEW else ""
            self.fault(place, name, "is not a known field", self.suggest(place.text, known, few))

    def _sequence(self, node: Seq, wants: tuple[inspect.Type, ...], field: str, references: bool) -> Any:
        for want in wants:
            if isinstance(want, LISTS):
                self._length(node, len(node.items), want, field)
                return [
                    self.value(item, want.item_type, f"{field}[{index}]", references=references)
                    for index, item in enumerate(node.items)
                ]
            if isinstance(want, inspect.TupleType):
                if len(want.item_types) != len(node.items):
                    return self.fault(node, field, f"should have {len(want.item_types)} entries")
                return [
                    self.value(item, kind, f"{field}[{index}]", references=references)
                    for index, (item, kind) in enumerate(zip(node.items, want.item_types, strict=True))
                ]
        return self._mismatch(node, wants, field)

    def _mapping(self, node: Map, wants: tuple[inspect.Type, ...], field: str, references: bool) -> Any:
        structs = [want for want in wants if isinstance(want, FIELDED)]
        if structs:
            chosen = structs[0] if len(structs) == 1 else self._tagged(node, structs, field)
            return self.fields(node, chosen, field, references=references) if chosen else {}
        for want in wants:
            if isinstance(want, inspect.DictType):
                self._length(node, len(node.entries), want, field)
                if isinstance(want.key_type, inspect.StrType):
                    for key, (place, _) in node.entries.items():
                        self._text(place, want.key_type, f"{field}.{key}", reference=False)
                return {
                    key: self.value(value, want.value_type, f"{field}.{key}", references=references)
                    for key, (_, value) in node.entries.items()
                }
        return self._mismatch(node, wants, field)

    def _tagged(self, node: Map, structs: list[Fielded], field: str) -> Fielded | None:
        """Choose among structs of a tagged union by the tag that the mapping carries."""
        tags = {str(want.tag): want for want in structs if isinstance(want, inspect.StructType)}
        name = next((want.tag_field for want in structs if isinstance(want, inspect.StructType)), None) or "type"
        tag = node.get(name)
        if isinstance(tag, Scalar) and tag.text in tags:
            return tags[tag.text]
        if tag is None:
            self.fault(node, f"{field}.{name}", "is missing", f"one of {', '.join(tags)}")
        else:
            hint = self.suggest(tag.text, tags) if isinstance(tag, Scalar) else ""
            self.fault(tag, f"{field}.{name}", f"should be one of {', '.join(tags)}", hint)
        return None

    def _scalar(self, node: Scalar, wants: tuple[inspect.Type, ...], field: str, references: bool) -> Any:
        value = natural(node)
        reference = references and "{{" in node.text
        text = False
        for want in wants:
            if isinstance(want, CHOICES):
                if value in options_of(want) or node.text in options_of(want):
                    return value if value in options_of(want) else node.text
            elif isinstance(want, inspect.StrType):
                text = value is not None
            elif matches(want, value):
                self._bounds(node, value, want, field)
                return value
            elif not isinstance(want, (*SCALARS, *LISTS, *FIELDED, inspect.DictType)):
                return node.text  # dates, decimals and the like are judged when the whole struct is made
        if text:
            self._text(node, next(want for want in wants if isinstance(want, inspect.StrType)), field, reference)
            return node.text
        if reference:
            self.deferred = True
            return node.text
        return self._mismatch(node, wants, field)

    def _anything(self, node: Node, field: str) -> Any:
        """Return ``node`` as plain data, whatever it is."""
        if isinstance(node, Seq):
            return [self._anything(item, f"{field}[{index}]") for index, item in enumerate(node.items)]
        if isinstance(node, Map):
            return {key: self._anything(value, f"{field}.{key}") for key, (_, value) in node.entries.items()}
        if is_huge(node):
            self.fault(node, field, "is too large for a number", "put quotes around it if it is text")
        return natural(node)

    def _text(self, node: Scalar, want: inspect.StrType, field: str, reference: bool) -> None:
        if want.pattern is None and want.min_length is None and want.max_length is None:
            return
        if reference:
            self.deferred = True
        elif want.pattern is not None and not re.search(want.pattern, node.text):
            self.fault(node, field, PATTERNS.get(want.pattern, f"should match {want.pattern}"))
        else:
            self._length(node, len(node.text), want, field)

    def _length(self, node: Node, length: int, want: Any, field: str) -> None:
        unit = "characters" if isinstance(node, Scalar) else "entries"
        if want.min_length is not None and length < want.min_length:
            empty = "should not be empty" if want.min_length == 1 else f"should have at least {want.min_length} {unit}"
            self.fault(node, field, empty)
        if want.max_length is not None and length > want.max_length:
            self.fault(node, field, f"should have at most {want.max_length} {unit}")

    def _bounds(self, node: Scalar, value: Any, want: Any, field: str) -> None:
        if not isinstance(want, (inspect.IntType, inspect.FloatType)):
            return
        tests = (
            (want.ge is not None and value < want.ge, f"should be at least {want.ge}"),
            (want.gt is not None and value <= want.gt, f"should be more than {want.gt}"),
            (want.le is not None and value > want.le, f"should be at most {want.le}"),
            (want.lt is not None and value >= want.lt, f"should be less than {want.lt}"),
        )
        for broken, message in tests:
            if broken:
                self.fault(node, field, message)

    def _mismatch(self, node: Node, wants: tuple[inspect.Type, ...], field: str) -> None:
        """Say that ``node`` is of none of the kinds wanted."""
        if is_null(node):
            texts = any(isinstance(want, inspect.StrType) for want in wants)
            return self.fault(node, field, "has no value", 'write "" for empty text' if texts else "")
        options = [str(option) for want in wants if isinstance(want, CHOICES) for option in options_of(want)]
        words = list(dict.fromkeys(described(want) for want in wants if not isinstance(want, inspect.NoneType)))
        message = f"should be {' or '.join(words)}"
        hint = ""
        if not isinstance(node, Scalar):
            message += f", not a {'list' if isinstance(node, Seq) else 'mapping'}"
        elif is_huge(node):
            message = "is too large for a number"
        elif options:
            hint = self.suggest(node.text, options)
        elif not node.plain and any(matches(want, natural(Scalar(node.text, True, 0, 0))) for want in wants):
            hint = "remove the quotes"
        return self.fault(node, field, message, hint)
