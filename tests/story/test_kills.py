"""Kills at random moments of the main job; ``tests/bench`` does the same a hundred times."""

from __future__ import annotations

import shutil

import pytest
from story import kills
from story.driver import REPO


@pytest.mark.faults
@pytest.mark.spark
def test_no_row_is_lost_or_doubled_and_no_process_left_when_the_job_is_killed(project):
    """docs/reliability.md, D1, E1, T3."""
    shutil.copytree(REPO / "conf", project.root / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    tally = kills.run(project, rounds=4, seed=20191001)
    assert tally == kills.Tally(rounds=4, killed=tally.killed, lost_rows=0, doubled_rows=0, survivors=0)
    assert tally.killed >= 2
