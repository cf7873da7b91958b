"""The notifiers that come with wfengine."""

from __future__ import annotations

from wfengine.events import AnyEvent
from wfengine.hooks import hookimpl
from wfengine_plugins.console import Console

_console = Console()


@hookimpl
def on_event(event: AnyEvent, delivery_id: str) -> None:
    """Tell people on the terminal about a run that failed."""
    _console.take(event)
