"""``shell_task``: run a program."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import IO, Annotated

import msgspec

from wfengine.errors import TaskFailed, shown
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine_layers.usercode import Scalar, as_text

_HINT = "is a list of arguments, as in ['sh', '-c', 'ls | wc -l']; a command line is not split"
#: Bytes of the end of standard error that are kept to name the reason of a failure.
_TAIL = 8192


class ShellConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which program, with which arguments and environment."""

    #: The program and its arguments, never a shell line. Text is accepted here only to be refused with a hint.
    command: Annotated[list[str], msgspec.Meta(min_length=1)] | str
    #: Variables beside those the engine runs with.
    env: dict[str, Scalar] = {}


class ShellLayer(Layer[ShellConfig]):
    """Run a program in the job file's folder; exit code 0 is success. Its output goes to the attempt's log."""

    name = "shell"
    Config = ShellConfig

    def run(self, context: TaskContext[ShellConfig]) -> TaskResult:
        """Run the program to its end; TaskFailed tells its exit code and the last line of its standard error."""
        command = context.config.command
        if isinstance(command, str):
            raise TaskFailed(f"command {_HINT}")
        environment = {**os.environ, **{name: as_text(value) for name, value in context.config.env.items()}}
        code, last = _run(command, context.base, environment)
        if code == 0:
            return TaskResult()
        raise TaskFailed(f"{shown(command[0])} {_ending(code)}" + (f": {shown(last, 500)}" if last else ""))

    @classmethod
    def check(cls, config: ShellConfig, folder: Path) -> list[tuple[str, str]]:
        """Refuse a shell line."""
        return [("command", _HINT)] if isinstance(config.command, str) else []


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Return the exit code, negative for a signal, and the last line of standard error."""
    tail = bytearray()
    try:
        # The child stays in this attempt's process group, so that a timeout ends it too.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except (OSError, ValueError) as error:
        raise TaskFailed(f"{shown(command[0])} cannot be started: {error}") from error
    assert process.stderr is not None  # noqa: S101 - Popen was asked for it
    relay = threading.Thread(target=_relay, args=(process.stderr, tail), daemon=True)
    relay.start()
    code = process.wait()
    # A process left in the background may hold standard error open for ever: do not wait for it.
    relay.join(timeout=1)
    lines = bytes(tail).decode(errors="replace").split("\n")
    return code, next((line.strip() for line in reversed(lines) if line.strip()), "")


def _relay(source: IO[bytes], tail: bytearray) -> None:
    """Copy standard error to ours and keep its end."""
    with source:
        while chunk := os.read(source.fileno(), 65536):
            os.write(2, chunk)
            tail += chunk
            del tail[:-_TAIL]


def _ending(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
