"""What the engine asks of the executor and what it hears back, and how an ending is read."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from wfengine.runs import ErrorInfo
from wfengine.states import Result

#: Bytes of one line a child may send; a completion record beyond it fails the attempt.
LINE_LIMIT = 1024 * 1024


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to start."""

    #: The attempt's own id, unique among all that are alive.
    id: int
    #: Function to call in the child, ``module:name``; takes the payload and a function that sends messages.
    entry: str = "wfengine.worker:main"
    #: JSON for the entry.
    payload: dict[str, Any] = {}
    #: File that takes what the attempt prints; made with its folder.
    log: Path
    #: Bytes of output kept, half from the head and half from the tail.
    log_limit: int = 64 * 1024 * 1024
    #: Variables added to the engine's own environment.
    env: dict[str, str] = {}
    #: Working directory of the child.
    cwd: Path
    #: Whether the child starts from a process that has the heavy libraries loaded.
    heavy: bool = False


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the engine sends to a supervisor, one JSON object a line; exactly one of the fields is set."""

    start: Launch | None = None
    #: Id of the attempt to stop, and the seconds between the polite and the final signal.
    stop: tuple[int, float] | None = None


class Report(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became known about one attempt; ``ended`` or ``lost`` is the last."""

    id: int
    #: ``started``, ``message``, ``ended`` or ``lost``.
    kind: str
    #: Process id, with ``started``.
    pid: int | None = None
    #: What the entry sent, with ``message``.
    message: dict[str, Any] | None = None
    #: With ``ended``: the exit code, or else the signal that ended the process.
    exit_code: int | None = None
    signal: int | None = None
    #: With ``ended``: the completion record, None when there was none.
    record: dict[str, Any] | None = None
    #: Empty, or: ``stopped`` (signalled on request), ``lingered`` (killed because it did not exit after its
    #: completion record), ``oom`` (the kernel ran out of memory), ``supervisor died``.
    cause: str = ""
    #: Whether output was left out of the log.
    log_truncated: bool = False


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _path(_type: type, text: str) -> Path:
    return Path(text)


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
_COMMANDS = msgspec.json.Decoder(Command, dec_hook=_path)
_REPORTS = msgspec.json.Decoder(Report)


def encode(said: Command | Report) -> bytes:
    """Write a command or report as one line."""
    return _ENCODER.encode(said) + b"\n"


def decode_command(line: bytes) -> Command:
    """Read a line of the engine."""
    return _COMMANDS.decode(line)


def decode_report(line: bytes) -> Report:
    """Read a line of a supervisor."""
    return _REPORTS.decode(line)


class Executor(Protocol):
    """Runs attempts in processes of their own. One thread uses it; only ``wake`` may be called from anywhere."""

    def start(self, launch: Launch) -> None:
        """Start an attempt without waiting for it."""
        ...

    def stop(self, id: int, grace: float) -> None:  # noqa: A002
        """Ask the attempt's whole process tree to end, and kill what is left after ``grace`` seconds."""
        ...

    def kill(self, id: int) -> None:  # noqa: A002
        """Kill the attempt's whole process tree now."""
        ...

    def poll(self, timeout: float | None) -> list[Report]:
        """Wait up to ``timeout`` seconds (None: without limit) and return what became known, possibly nothing."""
        ...

    def wake(self) -> None:
        """Make a waiting ``poll`` return; safe from other threads and from signal handlers."""
        ...

    def close(self) -> None:
        """Kill everything that still runs and free all resources."""
        ...


def ending(report: Report) -> tuple[Result, ErrorInfo | None]:
    """Say how the attempt of an ``ended`` or ``lost`` report came out, and why when it failed.

    Success takes exit code 0 and a completion record that says so. Whoever asked for a stop decides between
    TIMEDOUT and CANCELED; here such an attempt is FAILED.
    """
    if report.kind == "lost":
        return Result.FAILED, ErrorInfo(
            message="the process that supervises the attempts died, and this attempt with it", code="EngineDied"
        )
    if report.record is None:
        return Result.FAILED, _without_record(report)
    if report.record.get("status") != "success":
        return Result.FAILED, _reported(report.record)
    if report.exit_code == 0 or report.cause == "lingered":
        return Result.SUCCESS, None
    how = _how(report)
    return Result.FAILED, ErrorInfo(message=f"the task reported success, but its process then {how}", code="Killed")


def _reported(record: dict[str, Any]) -> ErrorInfo:
    try:
        return msgspec.convert(record.get("error"), ErrorInfo)
    except msgspec.ValidationError as error:
        return ErrorInfo(message=f"the completion record cannot be read: {error}", code="NoCompletionRecord")


def _without_record(report: Report) -> ErrorInfo:
    if report.cause == "oom":
        return ErrorInfo(
            message="killed by SIGKILL while the kernel's out-of-memory killer was at work: the task needs more memory",
            code="OutOfMemory",
        )
    how = _how(report)
    if report.signal is None:
        message = f"the process {how} without a completion record, as os._exit and sys.exit make it"
        return ErrorInfo(message=message, code="NoCompletionRecord")
    if report.signal == signal.SIGKILL and report.cause != "stopped":
        how += ", which nobody here sent: often the kernel's out-of-memory killer"
    return ErrorInfo(message=f"the process {how}", code="Killed")


def _how(report: Report) -> str:
    if report.signal is None:
        return f"ended with exit code {report.exit_code}"
    try:
        name = signal.Signals(report.signal).name
    except ValueError:
        name = f"signal {report.signal}"
    words = {"SIGSEGV": " (invalid memory access)", "SIGABRT": " (abort)", "SIGBUS": " (bad memory access)"}
    return f"was killed by {name}{words.get(name, '')}" + (" on request" if report.cause == "stopped" else "")
