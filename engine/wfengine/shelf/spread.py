"""Reads many files with all cores, once, while this process has no thread yet: what is read comes back as JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from wfengine.executor import die_with_parent

#: Fewer items than this are not worth a process.
WORTHWHILE = 500
#: Processes at most, this one included.
MOST = 8

Item = TypeVar("Item")
Made = TypeVar("Made")


def spread(items: Sequence[Item], work: Callable[[Item], Made], made: type[Made]) -> list[Made]:
    """Return ``work`` of each item, in order; with many items forks of this process do their share.

    ``work`` raises nothing; ``made`` is the msgspec type of what it returns. Where there are threads, nothing is
    forked: a lock that one of them holds would stay locked in the fork for ever.
    """
    count = min(os.cpu_count() or 1, MOST) if len(items) >= WORTHWHILE and _alone() else 1
    shares = [items[number::count] for number in range(count)]
    forks = [_fork(share, work) for share in shares[1:]]
    results = [[work(item) for item in shares[0]]]
    for share, (pid, descriptor) in zip(shares[1:], forks, strict=True):
        with open(descriptor, "rb") as pipe:
            told = pipe.read()
        # Whatever became of it, its share is done: a fork that was killed only costs time.
        complete = os.waitpid(pid, 0)[1] == 0
        results.append(msgspec.json.decode(told, type=list[made]) if complete else [work(item) for item in share])  # type: ignore[valid-type]
    found: list[Any] = [None] * len(items)
    for number, share_results in enumerate(results):
        found[number::count] = share_results
    return found


def _alone() -> bool:
    """Whether this process has no second thread, be it one of a library's own; where that cannot be known, it has."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _fork(share: Sequence[Item], work: Callable[[Item], Made]) -> tuple[int, int]:
    """Fork a process that does this share; return its id and the descriptor from which its results can be read."""
    parent = os.getpid()
    descriptor, other = os.pipe()
    pid = os.fork()
    if pid:
        os.close(other)
        return pid, descriptor
    try:
        # It must not outlive the daemon, whose lock on the home it has inherited.
        die_with_parent(parent)
        with open(other, "wb") as pipe:
            pipe.write(msgspec.json.encode([work(item) for item in share]))
        os._exit(0)
    finally:
        os._exit(1)
