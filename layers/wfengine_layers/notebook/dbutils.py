"""``dbutils``: what a notebook can ask of the engine that runs it."""

# ruff: noqa: N803 - the names are Databricks'

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from wfengine.layer import TaskContext
from wfengine_layers.notebook.attributes import Attributes
from wfengine_layers.notebook.widgets import Widgets


class NotebookExit(BaseException):
    """The notebook is done; not an Exception, so that ``except Exception`` in the notebook does not swallow it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class NotebookTools(Attributes):
    """End the notebook."""

    _name = "dbutils.notebook"

    def exit(self, value: Any = "") -> NoReturn:
        """End the task here with success; ``value`` as text is its output."""
        raise NotebookExit("" if value is None else str(value))


class TaskValues(Attributes):
    """Small JSON values that tasks hand on."""

    _name = "dbutils.jobs.taskValues"

    def __init__(self, context: TaskContext[Any]) -> None:
        self._context = context

    def set(self, key: str, value: Any) -> None:
        """Give downstream tasks a JSON value of at most 48 KiB."""
        if not isinstance(key, str):
            raise TypeError(f"the key of a task value is text, not {type(key).__name__}")
        self._context.set_value(key, value)

    def get(self, taskKey: str, key: str, default: Any = None, debugValue: Any = None) -> Any:
        """Return a value that an upstream task has set, else ``default``; ValueError when there is neither.

        ``debugValue`` is for notebooks outside a job and has no effect in one.
        """
        values = self._context.upstream_values
        if key in values.get(taskKey, {}):
            return values[taskKey][key]
        if default is not None:
            return default
        if taskKey not in values:
            raise ValueError(f"no upstream task {taskKey!r} has set task values; those that have: {_listed(values)}")
        raise ValueError(f"task {taskKey!r} has set no value {key!r}; it has set: {_listed(values[taskKey])}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


class JobTools(Attributes):
    """Exchange values with other tasks of the run."""

    _name = "dbutils.jobs"

    def __init__(self, context: TaskContext[Any]) -> None:
        self.taskValues = TaskValues(context)


class Dbutils(Attributes):
    """What a notebook can ask of the engine that runs it."""

    _name = "dbutils"

    def __init__(self, context: TaskContext[Any], widgets: Widgets) -> None:
        self.jobs = JobTools(context)
        self.notebook = NotebookTools()
        self.widgets = widgets
