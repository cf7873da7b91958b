"""Kill the main job at random moments, run it again, and count rows and processes (docs/reliability.md, D1, E1, T3)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import deltalake
from story.driver import REPO, Project

from wfengine.app import Engine

sys.path.append(str(REPO / "conf"))
import demo_data

#: Seconds after a kill by which nothing of the run may be alive.
SURVIVAL_SECONDS = 5.0
ROWS_PER_FILE = 2_000


class Tally(NamedTuple):
    """What the kills did; everything but ``rounds`` and ``killed`` must be 0, and nothing broken."""

    rounds: int
    #: Rounds in which the command was still running when it was killed.
    killed: int
    lost_rows: int
    doubled_rows: int
    survivors: int
    #: What the audit found after each round.
    broken: tuple[str, ...] = ()


def processes(home: Path) -> list[int]:
    """Return the processes that carry the marker of a run of this home."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"WFENGINE_MARKER=" + os.fsencode(home) in environ:
                found.append(int(entry.name))
    return found


def _add_file(project: Project, number: int) -> None:
    target = project.root / f"made-{number}"
    demo_data.generate(target, ROWS_PER_FILE, 1, number)
    (source,) = target.glob("*.csv")
    (project.root / "raw").mkdir(exist_ok=True)
    source.rename(project.root / "raw" / f"{number:04}.csv")


def survivors(home: Path) -> int:
    """Count the processes of a home that are still alive when they should be gone."""
    deadline = time.monotonic() + SURVIVAL_SECONDS
    while (alive := processes(home)) and time.monotonic() < deadline:
        time.sleep(0.05)  # waiting for the death of processes that are not ours to wait for
    return len(alive)


def run(project: Project, rounds: int, seed: int) -> Tally:
    """In each round a new file arrives, a run is killed at a random moment, and another completes."""
    chance = random.Random(seed)
    arguments = ("run-once", "conf/medallion.yml", "--param", f"source={project.root / 'raw'}")
    home = project.root / ".wfengine"
    _add_file(project, 0)
    begun = time.monotonic()
    project.run(*arguments)
    usual = time.monotonic() - begun
    killed = lost = doubled = left = 0
    broken: list[str] = []
    for number in range(1, rounds + 1):
        _add_file(project, number)
        process = project.start(*arguments)
        try:
            process.wait(chance.uniform(0.0, usual))
        except subprocess.TimeoutExpired:
            killed += 1
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left += survivors(home)
        project.run(*arguments)
        left += survivors(home)
        broken += breaks(project)
        missing, repeated = compare(project)
        lost, doubled = lost + missing, doubled + repeated
    return Tally(rounds, killed, lost, doubled, left, tuple(broken))


def breaks(project: Project) -> list[str]:
    """Return what an audit of the project's home and tables finds."""
    return [str(each) for each in Engine(project=project.root).audit().breaks]


def compare(project: Project) -> tuple[int, int]:
    """Return how many rows of the raw files are missing from bronze and quarantine together, and how many are too many."""
    there: Counter[str] = Counter()
    for name in ("events", "events_quarantine"):
        table = deltalake.DeltaTable(project.root / "warehouse" / "bronze" / name).to_pyarrow_table()
        there.update(Path(file).name for file in table.column("_source_file").to_pylist())
    raw = Counter({file.name: file.read_text().count("\n") - 1 for file in (project.root / "raw").glob("*.csv")})
    return (raw - there).total(), (there - raw).total()
