"""1,000 tasks that do nothing, each in its own process and durable, against the least that this can cost."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDE_BY_SIDE = os.cpu_count() or 1


def graph(fan: int, chain: int) -> dict[str, list[str]]:
    """Return upstreams by task: a root, ``fan`` tasks behind it, and a chain of ``chain`` tasks."""
    tasks: dict[str, list[str]] = {"root": []}
    tasks |= {f"fan{number}": ["root"] for number in range(fan)}
    for number in range(chain):
        tasks[f"chain{number}"] = [f"chain{number - 1}"] if number else ["root"]
    return tasks


def job_file(folder: Path, tasks: dict[str, list[str]]) -> Path:
    """Write the job for wfengine."""
    (folder / "noop.py").write_text("def noop():\n    return None\n")
    job = {
        "name": "thousand",
        "tasks": [
            {"task_key": key, "depends_on": [{"task_key": up} for up in ups], "python_task": {"callable": "noop:noop"}}
            for key, ups in tasks.items()
        ],
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return path


def ours(folder: Path, tasks: dict[str, list[str]]) -> float:
    """Run the job with the command, as a whole process."""
    path = job_file(folder, tasks)
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from wfengine.cli import main; main()", "run-once", str(path)],
        cwd=folder, check=True, capture_output=True, env={**os.environ, "WFENGINE_HOME": str(folder / "home")},
    )  # fmt: skip
    return time.perf_counter() - begun


def by_hand(folder: Path, tasks: dict[str, list[str]]) -> float:
    """Fork a process per task and commit each of its two transitions with synchronous=FULL; nothing else."""
    begun = time.perf_counter()
    database = sqlite3.connect(folder / "hand.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE tasks (key TEXT PRIMARY KEY, state TEXT)")
    waiting = {key: set(ups) for key, ups in tasks.items()}
    downstream: dict[str, list[str]] = {key: [] for key in tasks}
    for key, ups in tasks.items():
        for up in ups:
            downstream[up].append(key)
    ready, alive = [key for key, ups in waiting.items() if not ups], {}
    while ready or alive:
        while ready and len(alive) < SIDE_BY_SIDE:
            key = ready.pop(0)
            database.execute("INSERT INTO tasks VALUES (?, 'RUNNING')", (key,))
            pid = os.fork()
            if not pid:
                os._exit(0)
            alive[pid] = key
        pid, status = os.waitpid(-1, 0)
        key = alive.pop(pid)
        database.execute("UPDATE tasks SET state = ? WHERE key = ?", ("FAILED" if status else "SUCCESS", key))
        for below in downstream[key]:
            waiting[below].discard(key)
            if not waiting[below]:
                ready.append(below)
    database.close()
    return time.perf_counter() - begun


LUIGI = """
import luigi, sys, json
from pathlib import Path
graph = json.loads(Path("graph.json").read_text())
class Step(luigi.Task):
    key = luigi.Parameter()
    def requires(self): return [Step(key=up) for up in graph[self.key]]
    def output(self): return luigi.LocalTarget(f"done/{self.key}")
    def run(self):
        with self.output().open("w") as out: out.write("x")
class All(luigi.WrapperTask):
    def requires(self): return [Step(key=key) for key in graph]
sys.exit(0 if luigi.build([All()], local_scheduler=True, workers=int(sys.argv[1]), log_level="ERROR") else 1)
"""


def luigi(folder: Path, tasks: dict[str, list[str]]) -> float:
    """Run the same graph with Luigi, each task in a process of its own."""
    (folder / "graph.json").write_text(json.dumps(tasks))
    (folder / "steps.py").write_text(LUIGI)
    begun = time.perf_counter()
    subprocess.run([sys.executable, "steps.py", str(max(2, SIDE_BY_SIDE))], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - begun


def measure() -> list[tuple[str, str, str]]:
    """Take each in turn, three rounds."""
    tasks = graph(1000, 100)
    peers = [ours, by_hand, *([luigi] if importlib.util.find_spec("luigi") else [])]
    times: dict[str, list[float]] = {peer.__name__: [] for peer in peers}
    for _ in range(3):
        for peer in peers:
            with tempfile.TemporaryDirectory() as folder:
                times[peer.__name__].append(peer(Path(folder), tasks))
    median = {name: statistics.median(found) for name, found in times.items()}
    rows = [
        (
            "1,101 tasks: wfengine / by hand",
            f"{median['ours'] / median['by_hand']:.2f} ({median['ours']:.1f} s / {median['by_hand']:.1f} s)",
            "2",
        )
    ]
    if "luigi" in median:
        rows.append(("wfengine / Luigi", f"{median['ours'] / median['luigi']:.2f} ({median['luigi']:.1f} s)", "1"))
    return rows
