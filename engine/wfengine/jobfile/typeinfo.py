"""What msgspec knows about the types of a struct, in the words of faults."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeAlias

from msgspec import inspect

SCALARS = (inspect.IntType, inspect.FloatType, inspect.BoolType, inspect.StrType, inspect.NoneType)
LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)
FIELDED = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)
CHOICES = (inspect.EnumType, inspect.LiteralType)

Fielded: TypeAlias = inspect.StructType | inspect.DataclassType | inspect.TypedDictType

_PYTHON: dict[type, tuple[type, ...]] = {
    inspect.IntType: (int,),
    inspect.FloatType: (int, float),
    inspect.BoolType: (bool,),
    inspect.NoneType: (type(None),),
}
_WORDS: tuple[tuple[Any, str], ...] = (
    (inspect.IntType, "a whole number"),
    (inspect.FloatType, "a number"),
    (inspect.BoolType, "true or false"),
    (inspect.StrType, "text"),
    (inspect.DateTimeType, "a date and time"),
    (inspect.DateType, "a date"),
    ((*LISTS, inspect.TupleType), "a list"),
    ((*FIELDED, inspect.DictType), "a mapping"),
)


@cache
def spec(cls: type) -> inspect.StructType:
    """Return what msgspec knows about a struct class."""
    found = inspect.type_info(cls)
    assert isinstance(found, inspect.StructType)  # noqa: S101 - a struct class has no other description
    return found


@cache
def fields_of(cls: type) -> dict[str, inspect.Field]:
    """Return the fields of a struct, dataclass or TypedDict by the names files use."""
    found = inspect.type_info(cls)
    assert isinstance(found, FIELDED)  # noqa: S101 - callers come with such a class only
    return {field.encode_name: field for field in found.fields}


def flat(want: inspect.Type) -> Iterable[inspect.Type]:
    """Take unions and annotations apart."""
    if isinstance(want, inspect.Metadata):
        yield from flat(want.type)
    elif isinstance(want, inspect.UnionType):
        for option in want.types:
            yield from flat(option)
    else:
        yield want


def options_of(want: inspect.Type) -> list[Any]:
    """Return the values of an enum or a Literal."""
    if isinstance(want, inspect.LiteralType):
        return list(want.values)
    assert isinstance(want, inspect.EnumType)  # noqa: S101 - the other kind of choice
    return [member.value for member in want.cls]


def matches(want: inspect.Type, value: object) -> bool:
    """Whether a value read by `nodes.natural` is of the kind ``want``; text is left to the caller."""
    return type(value) in _PYTHON.get(type(want), ())


def described(want: inspect.Type) -> str:
    """Say in words what may stand where ``want`` is asked for."""
    if isinstance(want, CHOICES):
        return f"one of {', '.join(map(str, options_of(want)))}"
    return next((word for kinds, word in _WORDS if isinstance(want, kinds)), "another kind of value")
