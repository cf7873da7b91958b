"""What the children of the executor's tests do: each function is the entry of one attempt."""

import atexit
import ctypes
import glob
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor


def succeed(payload, report):
    return {"status": "success", "output": payload}


def look(payload, report):
    report(
        {
            "cwd": os.getcwd(),
            "stdin": sys.stdin.read(),
            "variable": os.environ.get("GIVEN"),
            "marker": os.environ["WFENGINE_MARKER"],
            "session": os.getsid(0) == os.getpid(),
            "descriptors": sorted(
                os.readlink(path)
                for path in glob.glob("/proc/self/fd/*")
                if os.path.exists(path) or os.path.islink(path)
            ),
        }
    )
    return {"status": "success"}


def write(payload, report):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, bytes([0, 255, 10]))
    return {"status": "success"}


def flood(payload, report):
    os.write(1, b"first\n")
    block = b"x" * (1 << 20)
    for _ in range(payload["mib"]):
        os.write(1, block)
    os.write(1, b"\nlast\n")
    return {"status": "success"}


def fail(payload, report):
    raise ValueError("wrong")


def leave(payload, report):
    os._exit(payload["code"])


def leave_politely(payload, report):
    sys.exit(payload["code"])


def die(payload, report):
    os.kill(os.getpid(), payload["signal"])
    signal.pause()


def crash(payload, report):
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


def interrupt(payload, report):
    raise KeyboardInterrupt


def too_large(payload, report):
    return {"status": "success", "output": "x" * payload["bytes"]}


def leak_thread(payload, report):
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return {"status": "success"}


def chatter(payload, report):
    for number in range(payload["count"]):
        report({"number": number, "text": "x" * 16384})
    return {"status": "success"}


def leave_pool(payload, report):
    ThreadPoolExecutor(2).submit(print, "from the pool").result()
    atexit.register(print, "goodbye")
    return {"status": "success"}


def leave_orphan(payload, report):
    """Its own child is the parent of a process deaf to SIGTERM; the attempt itself is not."""
    read, write = os.pipe()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(write, b"%d" % os.getpid())
        signal.pause()
    report({"left": int(os.read(read, 100))})
    signal.pause()


def finish_thread(payload, report):
    threading.Thread(target=lambda: (time.sleep(0.05), print("thread done"))).start()
    return {"status": "success"}


def wait(payload, report):
    report({"ready": os.getpid()})
    signal.pause()


def stubborn(payload, report):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    report({"ready": os.getpid()})
    signal.pause()


def fork_on(payload, report):
    """Both sides return from the entry, the copy after the original has reported."""
    read, write = os.pipe()
    if os.fork():
        atexit.register(lambda: (os.close(write), os.wait()))
    else:
        os.close(write)
        os.read(read, 1)
    return {"status": "success", "output": os.getpid()}


def daemonise(payload, report):
    """Leave a process of its own session behind, without exec, and one that was exec'ed."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write, b"%d" % os.getpid())
            signal.pause()
        os._exit(0)
    other = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    report({"ready": os.getpid(), "left": [int(os.read(read, 100)), other.pid]})
    if payload.get("stay"):
        signal.pause()
    return {"status": "success"}
