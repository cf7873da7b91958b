"""The one door to the engine: composes the floors for the command line, for the web and for ``import wfengine``."""

from __future__ import annotations

from wfengine.app.active import ActiveRun, Listener, Progress
from wfengine.app.base import Origin
from wfengine.app.engine import Engine
from wfengine.app.keeping import Audit, Pruned
from wfengine.app.operating import Status

__all__ = ["ActiveRun", "Audit", "Engine", "Listener", "Origin", "Progress", "Pruned", "Status"]
