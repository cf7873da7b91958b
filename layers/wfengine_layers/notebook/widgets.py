"""``dbutils.widgets``: how a notebook reads its parameters."""

# ruff: noqa: N802, N803 - the names are Databricks'

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from wfengine_layers.notebook.attributes import Attributes


class InputWidgetNotDefined(Exception):  # noqa: N818 - Databricks' name
    """Declare the widget, or give a parameter of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        there = f"there are {', '.join(sorted(known))}" if known else "there are none"
        super().__init__(f"No input widget named {name!r} is defined; {there}")


class Widgets(Attributes):
    """Parameters of the notebook by name; every value is text.

    Arguments of the innermost ``%run`` beat the parameters of the task, which beat what the notebook declares. A
    parameter of the task can be read without a declaration.
    """

    _name = "dbutils.widgets"

    def __init__(self, parameters: Mapping[str, str], stored: Mapping[str, str]) -> None:
        self._parameters = dict(parameters)
        self._declared = dict(stored)
        self._arguments: dict[str, str] = {}

    def text(self, name: str, defaultValue: str, label: str | None = None) -> None:
        """Declare a widget; one that is declared already keeps its value."""
        self._declared.setdefault(name, "" if defaultValue is None else str(defaultValue))

    def dropdown(self, name: str, defaultValue: str, choices: Sequence[str], label: str | None = None) -> None:
        """Declare a widget whose default must be one of ``choices``, else ValueError."""
        if str(defaultValue) not in [str(choice) for choice in choices]:
            raise ValueError(
                f"widget {name!r}: the default value {defaultValue!r} is not among the choices {list(choices)!r}"
            )
        self.text(name, defaultValue, label)

    def combobox(self, name: str, defaultValue: str, choices: Sequence[str], label: str | None = None) -> None:
        """Declare a widget that takes one of ``choices`` or any other text."""
        self.text(name, defaultValue, label)

    def multiselect(self, name: str, defaultValue: str, choices: Sequence[str], label: str | None = None) -> None:
        """Declare a widget that takes some of ``choices``, separated by commas; its default must be one of them."""
        self.dropdown(name, defaultValue, choices, label)

    def get(self, name: str) -> str:
        """Return a value; InputWidgetNotDefined names the widgets there are."""
        values = self.getAll()
        if name not in values:
            raise InputWidgetNotDefined(name, list(values))
        return values[name]

    def getAll(self) -> dict[str, str]:
        """Return every value by name."""
        return {**self._declared, **self._parameters, **self._arguments}

    def getArgument(self, name: str, defaultValue: str | None = None) -> str:
        """Return a value, or the default when there is no such widget."""
        values = self.getAll()
        return self.get(name) if defaultValue is None or name in values else str(defaultValue)

    def remove(self, name: str) -> None:
        """Forget a declaration; a parameter of the task stays. InputWidgetNotDefined when there is neither."""
        self.get(name)
        self._declared.pop(name, None)

    def removeAll(self) -> None:
        """Forget every declaration; parameters of the task stay."""
        self._declared.clear()


@contextmanager
def lent(widgets: Widgets, arguments: Mapping[str, str], stored: Mapping[str, str]) -> Iterator[None]:
    """Let the arguments of a ``%run`` hold while the other notebook runs; widgets that its file stores stay."""
    widgets._declared = {**stored, **widgets._declared}
    before = widgets._arguments
    widgets._arguments = {**before, **arguments}
    try:
        yield
    finally:
        widgets._arguments = before
