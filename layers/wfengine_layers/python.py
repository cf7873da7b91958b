"""``python_task``: call a Python function."""

from __future__ import annotations

import importlib
import importlib.machinery
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from wfengine.errors import TaskFailed
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine_layers.usercode import import_folders

_CALLABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class PythonConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which function, and what it is given."""

    #: ``package.module:function``; modules are looked for in the job file's folder first.
    callable: str
    #: Keyword arguments; a job parameter of the same name beats the value given here.
    parameters: dict[str, Any] = {}


class PythonLayer(Layer[PythonConfig]):
    """Call a Python function; what it returns is the task's output.

    A parameter named ``context`` is given the TaskContext. A function that returns a TaskResult says everything itself.
    """

    name = "python"
    Config = PythonConfig

    def run(self, context: TaskContext[PythonConfig]) -> TaskResult:
        """Import the module and call the function; what it raises is shown with its traceback."""
        config = context.config
        arguments = {name: context.parameters.get(name, value) for name, value in config.parameters.items()}
        with import_folders([context.base]):
            function = _load(config.callable, context.base)
            arguments = _bind(function, config.callable, arguments, context)
            try:
                result = function(**arguments)
            except SystemExit as error:
                raise TaskFailed(
                    f"{config.callable} called sys.exit({error.code!r}); return to succeed, raise to fail"
                ) from error
        return result if isinstance(result, TaskResult) else TaskResult(output=result)

    @classmethod
    def check(cls, config: PythonConfig, folder: Path) -> list[tuple[str, str]]:
        """Refuse a name of another form, and a module that is certainly not there; nothing is imported."""
        if "{{" in config.callable:
            return []
        if not _CALLABLE.fullmatch(config.callable):
            return [("callable", f"{config.callable!r} is not of the form package.module:function")]
        module = config.callable.partition(":")[0]
        return [] if _may_exist(module, folder) else [("callable", f"no module {module!r} in {folder} or installed")]

    @classmethod
    def sources(cls, config: Mapping[str, Any], folder: Path) -> list[Path]:
        """Name the function's module when it lies below the job file's folder."""
        module = str(config.get("callable", "")).partition(":")[0]
        stem = folder.joinpath(*module.split("."))
        return [file for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py") if file.is_file()]


def _may_exist(module: str, folder: Path) -> bool:
    """Whether ``module`` can be there: exact below ``folder``, only the first part of an installed package."""
    first, *_ = parts = module.split(".")
    if (folder / f"{first}.py").is_file() or (folder / first).is_dir():
        path = folder.joinpath(*parts)
        return path.with_name(path.name + ".py").is_file() or path.is_dir()
    return first in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(first) is not None


def _load(name: str, base: Path) -> Callable[..., Any]:
    if not _CALLABLE.fullmatch(name):
        raise TaskFailed(f"callable {name!r} is not of the form package.module:function")
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only when the module asked for is missing; one that it imports is the user's own traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise TaskFailed(f"there is no module {module_name!r} in {base} or installed ({error})") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise TaskFailed(f"module {module_name!r} ({getattr(found, '__file__', '')}) has no {path!r}")
        found = getattr(found, part)
    if not callable(found):
        raise TaskFailed(f"{name} is not a function but {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _bind(
    function: Callable[..., Any], name: str, arguments: dict[str, Any], context: TaskContext[PythonConfig]
) -> dict[str, Any]:
    """Add the context where the function asks for it; TaskFailed names arguments that do not fit."""
    signature = inspect.signature(function)
    if "context" in signature.parameters:
        arguments = {**arguments, "context": context}
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise TaskFailed(f"{name}{signature} does not fit the task's parameters: {error}") from error
    return arguments
