"""What a forked child does: takes its place, runs one entry function, reports, and exits."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import msgspec

from wfengine.executor import tree
from wfengine.executor.messages import LINE_LIMIT, Launch

Send = Callable[[dict[str, Any]], None]


class Ends(NamedTuple):
    """The descriptors around the fork."""

    #: Write ends for what is printed and for messages.
    output: int
    messages: int
    #: The supervisor's read ends, to be closed in the child.
    foreign: tuple[int, ...]


def run(launch: Launch, parent: int, ends: Ends, release: Callable[[], None]) -> NoReturn:
    """Become the attempt: let go of what is the supervisor's, run the entry and exit, whatever happens."""
    code = 1
    try:
        tree.die_with_parent(parent)
        release()
        for descriptor in ends.foreign:
            os.close(descriptor)
        _set_up(launch, ends.output)
        code = _run_entry(launch, _sender(ends.messages))
        _leave()
    except KeyboardInterrupt:
        # A process that an interrupt ends must look so to whoever waits for it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:  # noqa: BLE001 - nothing may climb into the supervisor's loop
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _set_up(launch: Launch, output: int) -> None:
    os.setsid()
    # Orphans of this attempt stay below it, so that its tree can be told from others as long as it lives.
    tree.adopt_orphans()
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target, inheritable=True)
    os.close(null)
    os.close(output)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["wfengine"]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.environ.update(launch.env)
    # Every child would draw the same numbers from a generator that was seeded before the fork.
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def _run_entry(launch: Launch, send: Send) -> int:
    """Run the entry and send its completion record; return the exit code."""
    me = os.getpid()
    code = 0
    try:
        os.chdir(launch.cwd)
        module, _, name = launch.entry.partition(":")
        entry = getattr(importlib.import_module(module), name)
        record = entry(launch.payload, lambda message: send({"message": message}))
    except Exception as error:  # noqa: BLE001 - the record is how failures are told
        traceback.print_exc()
        record, code = _failed(f"{type(error).__name__}: {error}"), 1
    if os.getpid() != me:
        # The entry forked and this is the copy; only the original may report.
        return code
    try:
        send({"record": record})
    except (TypeError, ValueError) as error:
        send({"record": _failed(f"the completion record cannot be sent: {error}")})
        return 1
    return code


def _failed(message: str) -> dict[str, Any]:
    return {"status": "failed", "error": {"message": message[:4096]}}


def _sender(messages: int) -> Send:
    lock = threading.Lock()

    def send(line: dict[str, Any]) -> None:
        data = msgspec.json.encode(line) + b"\n"
        if len(data) > LINE_LIMIT:
            raise ValueError(f"it has {len(data)} bytes as JSON; at most {LINE_LIMIT} are allowed")
        with lock:
            while data:
                data = data[os.write(messages, data) :]

    return send


def _leave() -> None:
    """Do what an interpreter does at its end; the supervisor kills a process that takes too long over it."""
    # Joins the threads after waking idle pools, as the interpreter and multiprocessing do.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # The task may have closed or replaced it.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _exit_code(error: SystemExit) -> int:
    """Return the code an interpreter would exit with."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)  # noqa: T201
    return 1
