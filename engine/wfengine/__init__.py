"""A lightweight embedded workflow engine with event plugins for lakehouse pipelines.

This is the stable face: what is in ``__all__`` keeps its meaning within a major version. Names are loaded on first
use, so that the command line starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfengine.app import Engine
    from wfengine.errors import JobFileError, PluginError, StateError, TaskFailed, UsageError, WfengineError
    from wfengine.events import Event
    from wfengine.hooks import hookimpl
    from wfengine.layer import Layer, TaskContext, TaskIdentity, TaskResult
    from wfengine.runs import Attempt, Facts, JobRun, TableFact
    from wfengine.states import LifeCycle, Result, RunIf

__all__ = [
    "Attempt",
    "Engine",
    "Event",
    "Facts",
    "JobFileError",
    "JobRun",
    "Layer",
    "LifeCycle",
    "PluginError",
    "Result",
    "RunIf",
    "StateError",
    "TableFact",
    "TaskContext",
    "TaskFailed",
    "TaskIdentity",
    "TaskResult",
    "UsageError",
    "WfengineError",
    "hookimpl",
]

_HOME = {
    "Attempt": "runs", "Facts": "runs", "JobRun": "runs", "TableFact": "runs",
    "Engine": "app", "Event": "events", "hookimpl": "hooks",
    "Layer": "layer", "TaskContext": "layer", "TaskIdentity": "layer", "TaskResult": "layer",
    "LifeCycle": "states", "Result": "states", "RunIf": "states",
    "JobFileError": "errors", "PluginError": "errors", "StateError": "errors", "TaskFailed": "errors",
    "UsageError": "errors", "WfengineError": "errors",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"wfengine.{_HOME[name]}"), name)
    raise AttributeError(f"module 'wfengine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
