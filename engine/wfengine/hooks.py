"""The hooks a plugin can implement; there are no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from wfengine.events import AnyEvent
    from wfengine.layer import Layer

PROJECT = "wfengine"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_layers() -> list[type[Layer[Any]]]:  # type: ignore[empty-body]
    """Return the layer classes this plugin offers; each is used in job files as ``<name>_task``."""


@hookspec
def on_event(event: AnyEvent, delivery_id: str) -> None:
    """Take one event; it comes at least once, in order per run, and whatever is raised changes no run."""


@hookspec
def register_commands() -> list[object]:  # type: ignore[empty-body]
    """Return click commands to be added to the ``wfengine`` command."""
