"""Attempts and processes for tests: start them, hear of them, wait for their end."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wfengine.clock import SystemClock
from wfengine.executor import Launch, ProcessExecutor, Report, ending
from wfengine.runs import ErrorInfo
from wfengine.states import Result

#: Seconds after which a test that waits for processes fails; reached only when something is broken.
PATIENCE = 60


class Bench:
    """An executor and the reports it has given so far, by attempt."""

    def __init__(self, executor: ProcessExecutor, folder: Path) -> None:
        self.executor = executor
        self.folder = folder
        self.reports: dict[int, list[Report]] = {}

    def start(self, entry: str, number: int = 1, **fields: Any) -> None:
        settings = {"cwd": self.folder, "log": self.folder / "logs" / str(number), **fields}
        self.executor.start(Launch(id=number, entry=f"entries:{entry}", **settings))

    def until(self, found: Callable[[Report], bool], number: int = 1) -> Report:
        """Poll until a report of that attempt satisfies ``found``."""
        deadline = SystemClock().monotonic() + PATIENCE
        while True:
            for report in self.reports.get(number, []):
                if found(report):
                    return report
                assert report.kind != "ended", report
            assert SystemClock().monotonic() < deadline, f"not heard in {PATIENCE} s; so far {self.reports}"
            for report in self.executor.poll(PATIENCE):
                self.reports.setdefault(report.id, []).append(report)

    def end(self, number: int = 1) -> Report:
        return self.until(lambda report: report.kind in ("ended", "lost"), number)

    def message(self, number: int = 1) -> dict[str, Any]:
        message = self.until(lambda report: report.kind == "message", number).message
        assert message is not None
        return message

    def outcome(self, entry: str, **fields: Any) -> tuple[Result, ErrorInfo | None]:
        self.start(entry, **fields)
        return ending(self.end())

    def log(self, number: int = 1) -> bytes:
        return (self.folder / "logs" / str(number)).read_bytes()


def wait_until_gone(*pids: int) -> None:
    """Wait until the processes have ended, by their descriptors."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], PATIENCE)[0], f"process {pid} is still there"
        finally:
            os.close(descriptor)


def supervisor_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def peak_memory(pid: int) -> int:
    """Return the most memory the process ever had, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
