"""A daemon with many schedules: start, idle cost, lateness under load; an hour with ``bench_daemon.py --seconds 3600``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[1]))
from story import daemonkills
from story.daemons import Daemon, home
from story.driver import Project

from wfengine.app import Engine

#: Seconds over which a daemon's idle cost is taken.
IDLE_SECONDS = 60.0
JOB = """\
name: job{number}
description: the orders of region {number}
schedule: {{quartz_cron_expression: "{second} {minute} {hour} * * ?", timezone_id: Europe/Berlin}}
parameters: {{day: "2024-01-05"}}
tasks:
  - task_key: load
    shell_task: {{command: [echo, "{{{{job.parameters.day}}}}"]}}
  - task_key: report
    depends_on: [load]
    max_retries: 2
    shell_task: {{command: ["true"]}}
"""
EVERY_SECOND = 'schedule: {quartz_cron_expression: "* * * * * ?", timezone_id: UTC}\nmax_concurrent_runs: 100\n'
COMPUTES = "while True: pass"


class Idle(NamedTuple):
    """The cost of a daemon that has nothing to do."""

    start_seconds: float
    #: Processor seconds that the start took, children excluded.
    start_cpu: float
    #: Share of one core over a minute, in per cent.
    percent: float
    mebibytes: float


def measure(seconds: float = 120.0, kills: int = 200) -> Iterator[tuple[str, str, str]]:
    """Measure starts, idle cost, lateness, and kills; each figure comes when it is known."""
    for count, percent, memory in ((1_000, 1, 80), (10_000, 3, 120)):
        with tempfile.TemporaryDirectory() as folder:
            project = _crowd(Path(folder), count)
            for again in (False, True):
                daemon, idle = _idle(project)
                if not again:
                    daemon.stop()
                name = f"{count:,} schedules, {'a restart' if again else 'the first start'}"
                start = f"{idle.start_seconds:.1f} s ({idle.start_cpu:.1f} s of processor time)"
                yield f"{name}: until it serves", start, "5 s at 10,000"
                yield f"{name}: idle", f"{idle.percent:.2f} % of a core", f"{percent} %"
                yield f"{name}: resident", f"{idle.mebibytes:.0f} MiB", f"{memory} MiB"
            if count == 10_000:
                yield from _late(project, daemon, seconds)
            daemon.stop()
    with tempfile.TemporaryDirectory() as folder:
        tally = daemonkills.run(Project(Path(folder) / "project"), kills, seed=1)
    told = f"{tally.lost} lost, {tally.doubled} doubled, {tally.stuck} stuck, {tally.survivors} processes left"
    yield f"{tally.kills} kills of a daemon with 50 jobs, {tally.due:,} instants", told, "0, 0, 0, 0"


def _crowd(folder: Path, count: int) -> Project:
    """Write jobs that are due in some hours, so that none is while the idle cost is taken."""
    project = Project(folder / "project")
    (project.root / "conf").mkdir()
    first = datetime.now(timezone.utc) + timedelta(hours=6)
    for number in range(count):
        due = first + timedelta(seconds=number)
        text = JOB.format(number=number, second=due.second, minute=due.minute, hour=due.hour)
        (project.root / "conf" / f"job{number}.yml").write_text(text)
    return project


def _idle(project: Project) -> tuple[Daemon, Idle]:
    begun = time.perf_counter()
    daemon = Daemon(project, "conf", "--max-tasks", "6").serving()
    started, cpu = time.perf_counter() - begun, _cpu(daemon.pid)
    _let(daemon, 5.0)
    before = _cpu(daemon.pid)
    _let(daemon, IDLE_SECONDS)
    percent = (_cpu(daemon.pid) - before) / IDLE_SECONDS * 100
    return daemon, Idle(started, cpu, percent, _resident(daemon.pid))


def _late(project: Project, daemon: Daemon, seconds: float) -> list[tuple[str, str, str]]:
    """Let two tasks compute while a job is due every second."""
    busy = f"tasks: [{{task_key: t, shell_task: {{command: [{sys.executable}, -c, '{COMPUTES}']}}}}]\n"
    quick = "tasks: [{task_key: t, shell_task: {command: ['true']}}]\n"
    (project.root / "conf/second.yml").write_text(f"name: second\n{EVERY_SECOND}{quick}")
    for name in ("busy1", "busy2"):
        (project.root / f"conf/{name}.yml").write_text(f"name: {name}\n{busy}")
    daemon.until(lambda line: "busy2" in line.get("added", ()))
    for name in ("busy1", "busy2"):
        project.run("trigger", name)
        daemon.heard("task_started", job_name=name)
    _let(daemon, seconds)
    engine = Engine(home(project))
    late = sorted(
        first.start_time - run.trigger_time
        for run in engine.runs(limit=round(seconds), job="second")
        if (first := run.attempts[0]).start_time
    )
    ticks = engine.ticks("second", limit=round(seconds))
    missed = sum(tick.count for tick in ticks if tick.run_id is None)
    for run in engine.status().running:
        project.run("cancel", str(run.run_id), code=None)
    p99 = late[round(len(late) * 0.99) - 1]
    return [
        ("from being due to the start of the first task, p99, 2 tasks computing", f"{p99} ms, median {late[len(late) // 2]} ms", "250 ms"),
        (f"{len(late)} instants, one every second", f"{sum(ms > 1000 for ms in late)} late, {missed} missed", "0, 0"),
    ]  # fmt: skip


def _let(daemon: Daemon, seconds: float) -> None:
    """Let the daemon go on for a while."""
    try:
        daemon.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise RuntimeError(f"the daemon ended: {daemon.noise}")


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120.0, help="How long jobs are due every second.")
    parser.add_argument("--kills", type=int, default=200)
    given = parser.parse_args()
    for what, figure, bar in measure(given.seconds, given.kills):
        print(f"  {what}: {figure}   (bar: {bar})", flush=True)
