"""Process trees: who descends from whom, and how to end all of them.

Reads /proc. Where there is none (macOS), a process group stands for the tree.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

#: Environment variable that every process of a run carries.
MARKER = "WFENGINE_MARKER"

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "stat").exists()
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
#: Scans until a sweep gives up on processes that do not go away; 10 ms lie between two.
_SCANS = 500


def adopt_orphans() -> None:
    """Make this process the parent of every descendant that loses its own (Linux only, elsewhere nothing)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when the thread that forked it ends; exit when ``parent`` is gone already."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def children() -> set[int] | None:
    """Return the direct children of this single-threaded process, zombies included; None where there is no /proc."""
    if not _HAS_PROC:
        return None
    try:
        return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_bytes().split()}
    except OSError:
        # A kernel that was built without this file.
        return {pid for pid, parent in _parents().items() if parent == os.getpid()}


def descendants(roots: Iterable[int]) -> set[int]:
    """Return ``roots`` and all that descend from them, zombies included."""
    waiting = list(roots)
    if not waiting:
        return set()
    below: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        below.setdefault(parent, []).append(pid)
    found: set[int] = set()
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(below.get(pid, ()))
    return found


def signal_tree(root: int, number: int) -> set[int]:
    """Send a signal to ``root`` and all its descendants (without /proc: its process group); return those found."""
    found = descendants([root])
    if not _HAS_PROC:
        signal_group(root, number)
    signal_all(found, number)
    return found


def signal_group(leader: int, number: int) -> None:
    """Send a signal to a process group if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def signal_all(pids: Iterable[int], number: int) -> None:
    """Send a signal to each process that is still there and may be signalled."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def sweep(marker: str) -> int:
    """Kill every process of this user whose environment has exactly this run's marker, never the caller.

    Returns how many there were. Where there is no /proc nothing is found.
    """
    return sweep_variable(MARKER, marker)


def sweep_variable(name: str, value: str) -> int:
    """Kill every process of this user that was given the environment variable; return how many there were."""
    killed: set[int] = set()
    wanted = f"{name}={value}".encode()
    for _ in range(_SCANS):
        # A process can fork between the scan and its kill, so only a scan that finds nobody is the end.
        found = _with_variable(wanted)
        if not found:
            break
        killed |= found
        signal_all(found, signal.SIGKILL)
        time.sleep(0.01)
    return len(killed)


def _with_variable(wanted: bytes) -> set[int]:
    return {pid for pid in _pids() if wanted in _environment(pid)} - {os.getpid()}


def _environment(pid: int) -> list[bytes]:
    """Return what a process of this user was started with; nothing for another's and for one that has ended."""
    path = _PROC / str(pid) / "environ"
    try:
        return path.read_bytes().split(b"\0") if path.stat().st_uid == os.getuid() else []
    except OSError:
        return []


def _pids() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()] if _HAS_PROC else []


def _parents() -> dict[int, int]:
    """Map every process to its parent."""
    pairs = ((pid, _parent(pid)) for pid in _pids())
    return {pid: parent for pid, parent in pairs if parent is not None}


def _parent(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None  # ended meanwhile
    # The name, in parentheses, may itself hold spaces and parentheses.
    return int(stat[stat.rindex(b")") + 2 :].split()[1])
