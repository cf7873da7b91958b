"""A hundred random ``kill -9`` during the main job, each followed by a rerun."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from story import kills
from story.driver import REPO, Project


def measure(rounds: int = 100) -> list[tuple[str, str, str]]:
    """Count what was lost, doubled and left."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "project")
        shutil.copytree(REPO / "conf", project.root / "conf", ignore=shutil.ignore_patterns("__pycache__"))
        tally = kills.run(project, rounds, seed=1)
    told = f"{tally.lost_rows} rows lost, {tally.doubled_rows} doubled, {tally.survivors} processes left"
    told += f", {len(tally.broken)} rules broken"
    return [(f"{tally.killed} kills in {tally.rounds} rounds", told, "0, 0, 0, 0")]
