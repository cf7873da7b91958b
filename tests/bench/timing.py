"""Timing of whole processes and of process trees, for the benches."""

from __future__ import annotations

import os
import statistics
import subprocess
import threading
import time
from pathlib import Path


def wall(command: list[str], **options: object) -> float:
    """Run a command to its end and return its wall time in seconds; it must succeed."""
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    took = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{command} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return took


def pairs(first: list[str], second: list[str], rounds: int, **options: object) -> tuple[float, float, float]:
    """Run two commands in turn; return the medians of both and of the ratio first/second, pair by pair."""
    wall(first, **options)
    wall(second, **options)
    times = [(wall(first, **options), wall(second, **options)) for _ in range(rounds)]
    return (
        statistics.median(one for one, _ in times),
        statistics.median(two for _, two in times),
        statistics.median(one / two for one, two in times),
    )


def tree_memory(root: int) -> int:
    """Return the resident bytes of a process and everything below it, shared pages counted for each."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            resident[int(entry.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        total += resident.get(pid, 0)
        waiting += children.get(pid, [])
    return total


class Peak:
    """The largest memory of a process tree while it runs, sampled."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid, self._stop = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self.bytes = max(self.bytes, tree_memory(self._pid))

    def close(self) -> int:
        """Stop looking and return the peak in bytes."""
        self._stop.set()
        self._thread.join()
        return self.bytes
