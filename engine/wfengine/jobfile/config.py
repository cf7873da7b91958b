"""Turn the mapping of a ``<kind>_task`` into the config struct of its layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from wfengine.errors import TaskFailed

if TYPE_CHECKING:
    from wfengine.layer import Layer

_AT = re.compile(r"^(?P<message>.*?)(?: - at `(?P<place>[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def convert_config(layer: type[Layer[Any]], mapping: Mapping[str, Any]) -> msgspec.Struct:
    """Convert a config whose references are filled in; text becomes the number or truth value its field wants.

    Raises TaskFailed naming the field when a value does not fit.
    """
    try:
        return msgspec.convert(mapping, layer.Config, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        message, steps = explained(error)
        raise TaskFailed(f"{dotted(f'{layer.name}_task', steps)}: {message}") from None


def explained(error: Exception) -> tuple[str, tuple[str | int, ...]]:
    """Split msgspec's error into its sentence and the steps from the config to the value at fault."""
    found = _AT.match(str(error))
    message, place = (found["message"], found["place"] or "") if found else (str(error), "")
    return sentence(message), steps_of(place.removeprefix("$"))


def steps_of(place: str) -> tuple[str | int, ...]:
    """Read ``a.b[0]`` as ``("a", "b", 0)``."""
    text = place if place.startswith((".", "[")) or not place else f".{place}"
    return tuple(name or int(number) for name, number in _STEP.findall(text))


def dotted(start: str, steps: tuple[str | int, ...]) -> str:
    """Write the way to a value as ``start.a.b[0]``."""
    return start + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def sentence(message: str) -> str:
    """Say msgspec's message in the words used for all other faults of a file."""
    text = message.replace("`", "'")
    return text[:1].lower() + text[1:]
