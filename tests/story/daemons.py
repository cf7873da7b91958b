"""A daemon in a project: started, listened to line by line, told to end, killed."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from story.driver import Project

from wfengine.app import Engine
from wfengine.runs import JobRun, Tick

#: ``hold`` says by one pipe that it runs and waits at another until it is told to go on.
TASKS = """\
import os, signal
from pathlib import Path

def say(**given):
    return given

def hold(folder):
    Path(folder, "started").write_text(str(os.getpid()))
    Path(folder, "go").read_text()

def stubborn(folder):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hold(folder)

def touch(path):
    Path(path).touch()
"""

EVERY_SECOND = 'schedule: {quartz_cron_expression: "* * * * * ?", timezone_id: UTC}'
QUICK = "tasks: [{task_key: t, shell_task: {command: ['true']}}]"

#: Puts the daemon's clock ahead by some milliseconds.
LATER = """
from wfengine.clock import SystemClock
SystemClock.now_ms = lambda self, before=SystemClock.now_ms: before(self) + {ms}
"""


#: Seconds after which a test that waits for a daemon fails; reached only when something is broken.
PATIENCE = 60.0

Line = dict[str, Any]


class Daemon:
    """A daemon that logs JSON to its standard error; ``heard`` waits for a line of it, whatever was logged before."""

    def __init__(self, project: Project, *arguments: str, prologue: str = "", **environ: str) -> None:
        """``prologue`` is Python that the process executes first, to put a fault in its way."""
        self.project = project
        command = project.arguments("daemon", *arguments)
        command[2] = f"{prologue}\n{command[2].replace('; ', chr(10))}"
        self.process = subprocess.Popen(
            command,
            cwd=project.root,
            env={**project.environ(), **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        #: All lines so far, and what was no JSON.
        self.lines: list[Line] = []
        self.noise = ""
        self._new: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for text in stream:
                if text.startswith("{"):
                    self._new.put(json.loads(text))
                else:
                    self.noise += text
        self._new.put(None)

    def serving(self) -> Daemon:
        self.heard("serving")
        return self

    def heard(self, event: str, count: int = 1, **fields: Any) -> Line:
        """Wait for the ``count``-th line of that event with these fields and return it."""
        return self.until(lambda line: line["event"] == event and fields.items() <= line.items(), count)

    def said(self, text: str, count: int = 1) -> Line:
        """Wait for the ``count``-th line that contains the text."""
        return self.until(lambda line: text in json.dumps(line), count)

    def until(self, found: Callable[[Line], bool], count: int = 1) -> Line:
        while True:
            matches = [line for line in self.lines if found(line)]
            if len(matches) >= count:
                return matches[count - 1]
            try:
                line = self._new.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"not heard in {PATIENCE} s; the last lines: {self.lines[-5:]}") from None
            assert line is not None, f"the daemon ended: {self.lines[-5:]} {self.noise}"
            self.lines.append(line)

    def first(self) -> Line | None:
        """Return its first line; None when it ended without one."""
        return self._new.get(timeout=PATIENCE)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, code: int = 0) -> str:
        """Wait for its end, which must come with this exit code; return what it said to people."""
        assert self.process.wait(PATIENCE) == code, f"{self.lines[-5:]} {self._rest()}"
        return self._rest()

    def stop(self) -> None:
        """Tell it to end and wait until it has."""
        self.signal(signal.SIGTERM)
        self.ended()

    def kill(self) -> None:
        """End it by force and wait until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self._rest()

    def _rest(self) -> str:
        self._reader.join(PATIENCE)
        while not self._new.empty():
            if (line := self._new.get()) is not None:
                self.lines.append(line)
        assert "Traceback" not in self.noise, self.noise
        return self.noise

    def count(self, event: str, **fields: Any) -> int:
        return sum(line["event"] == event and fields.items() <= line.items() for line in self.lines)


def home(project: Project) -> Path:
    return project.root / ".wfengine"


def run(project: Project, run_id: int) -> JobRun:
    """Look up a run without the cost of a process."""
    return Engine(home(project)).run(run_id)[0]


def ticks(project: Project, job: str) -> list[Tick]:
    """Return all rows of a job in the ledger, oldest first."""
    return sorted(Engine(home(project)).ticks(job, limit=100_000), key=lambda tick: tick.due)


def job(project, name, *parts, file=None):
    return project.write(f"conf/{file or name}.yml", "\n".join((f"name: {name}", *parts)) + "\n")


def holding(project, *more, call="hold", task=""):
    """Return the tasks of a job whose first one waits to be released, with the pipes for it."""
    for name in ("started", "go"):
        if not (project.root / name).exists():
            os.mkfifo(project.root / name)
    (project.root / "conf").mkdir(exist_ok=True)
    (project.root / "conf/tasks.py").write_text(TASKS)
    first = (
        f'  - {{task_key: hold, python_task: {{callable: "tasks:{call}", '
        f"parameters: {{folder: {project.root}}}}}{', ' if task else ''}{task}}}"
    )
    return "\n".join(("tasks:", first, *more))


def started(project):
    """Wait until a task says that it runs; return its process id."""
    descriptor = os.open(project.root / "started", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert select.select([descriptor], [], [], PATIENCE)[0], "no task has started"
        return int(os.read(descriptor, 100))
    finally:
        os.close(descriptor)


def go(project):
    """Let the task go on that waits."""
    with open(project.root / "go", "w"):
        pass


def attempts(project, run_id, key="hold"):
    return [
        (attempt.attempt_number, attempt.result, attempt.error.code if attempt.error else "")
        for attempt in run(project, run_id).attempts
        if attempt.task_key == key
    ]
