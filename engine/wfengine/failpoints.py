"""Named places where a test can make this process die, to prove that nothing is lost or doubled."""

from __future__ import annotations

import os
import signal

#: ``name`` or ``name:count``: die by SIGKILL at the count-th time (default: first) the place is reached.
VARIABLE = "WFENGINE_FAILPOINT"

_reached: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Kill this process when the environment asks for it at ``name``; otherwise do nothing."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    place, _, count = wanted.partition(":")
    if place != name:
        return
    _reached[name] = _reached.get(name, 0) + 1
    if _reached[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
