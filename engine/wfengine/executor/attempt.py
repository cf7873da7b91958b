"""One child as its supervisor sees it: its process, its two pipes, and what it has said so far."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from wfengine.executor import child
from wfengine.executor.caplog import CappedLog
from wfengine.executor.messages import LINE_LIMIT, Launch, Report
from wfengine.failpoints import failpoint

_CHUNK = 64 * 1024


class Line(msgspec.Struct, omit_defaults=True):
    """What a child sends, one JSON object a line: messages, and at last its completion record."""

    message: dict[str, Any] | None = None
    record: dict[str, Any] | None = None


class Attempt:
    """A forked child and its ending; nothing here waits. OSError from the constructor: nothing was started."""

    def __init__(self, launch: Launch, release: Callable[[], None]) -> None:
        """Fork; ``release`` closes, in the child, all that belongs to the supervisor."""
        self.id = launch.id
        self.output, output_end, self.messages, messages_end = _two_pipes()
        parent = os.getpid()
        try:
            failpoint("attempt.before_fork")
            self.pid = os.fork()
            if self.pid == 0:
                child.run(launch, parent, child.Ends(output_end, messages_end, (self.output, self.messages)), release)
        except OSError:
            self.close_pipes()
            raise
        finally:
            os.close(output_end)
            os.close(messages_end)
        failpoint("attempt.after_fork")
        os.set_blocking(self.output, False)
        os.set_blocking(self.messages, False)
        self.report = Report(id=launch.id, kind="ended")
        self.exited = False
        #: Moment at which its processes are killed; None while there is no reason to.
        self.deadline: float | None = None
        #: Processes that were asked to end; they have until the deadline even when the child itself is gone.
        self.asked: set[int] = set()
        #: Moment at which killed processes that do not go away are no longer waited for.
        self.give_up: float | None = None
        self._log = CappedLog(launch.log, launch.log_limit)
        self._partial = b""

    def read_output(self) -> bool:
        """Move printed bytes into the log; return False at the end of the stream."""
        data = os.read(self.output, _CHUNK)
        self._log.write(data)
        return data != b""

    def read_messages(self) -> list[Report] | None:
        """Return what the child reported and keep its completion record; None at the end of the stream."""
        data = os.read(self.messages, _CHUNK)
        if not data:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_LIMIT:
            self._partial = b""
        reports = []
        for line in lines:
            try:
                said = msgspec.json.decode(line, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # written by the task itself; without a record of ours the attempt fails anyway
            if said.record is not None:
                self.report.record = said.record
            elif said.message is not None:
                reports.append(Report(id=self.id, kind="message", message=said.message))
        return reports

    def exit(self, status: int) -> None:
        """Take the status that ``waitpid`` gave for the child."""
        self.exited = True
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            self.report.exit_code = code
            return
        self.report.signal = -code
        if -code == signal.SIGKILL and not self.report.cause and _OOM.rose():
            self.report.cause = "oom"

    def finish(self) -> list[Report]:
        """Read what is left in the pipes, complete the log, and return the last reports."""
        reports: list[Report] = []
        # The tree is gone, so an empty pipe is a finished one even if some stranger still holds its other end.
        with contextlib.suppress(BlockingIOError):
            while (more := self.read_messages()) is not None:
                reports += more
        with contextlib.suppress(BlockingIOError):
            while self.read_output():
                pass
        self.close_pipes()
        self.report.log_truncated = self._log.close()
        return [*reports, self.report]

    def release(self) -> None:
        """Close every descriptor, in another child that has inherited them."""
        self.close_pipes()
        self._log.release()

    def close_pipes(self) -> None:
        """Close this side of both pipes."""
        os.close(self.output)
        os.close(self.messages)


def _two_pipes() -> tuple[int, int, int, int]:
    first = os.pipe()
    try:
        return (*first, *os.pipe())
    except OSError:
        for descriptor in first:
            os.close(descriptor)
        raise


class _OutOfMemory:
    """The kernel's count of processes killed for want of memory, as far as it has been told to us."""

    def __init__(self) -> None:
        self._seen = _oom_kills()

    def rose(self) -> bool:
        """Whether the count has risen since the last look; asked only when a child was killed, for a look costs."""
        before, self._seen = self._seen, _oom_kills()
        return self._seen > before


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory; 0 when it does not tell."""
    try:
        counters = Path("/proc/vmstat").read_bytes()
    except OSError:
        return 0
    place = counters.find(b"\noom_kill ")
    return int(counters[place:].split(maxsplit=2)[1]) if place >= 0 else 0


_OOM = _OutOfMemory()
