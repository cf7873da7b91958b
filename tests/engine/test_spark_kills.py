"""Attempts killed between any two steps of an append lose and double nothing (docs/reliability.md, E1, E2)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wfengine.failpoints import VARIABLE
from wfengine.spark.ledger import Ledger

pytestmark = [pytest.mark.spark, pytest.mark.faults]
deltalake = pytest.importorskip("deltalake")

TASK = Path(__file__).with_name("append_once.py")
PLACES = ("append.after_plan", "append.after_commit", "append.after_done")


def start(url: str, warehouse: Path, attempt: int, step: int, failpoint: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(TASK), url, str(warehouse), str(attempt), str(step)],
        env={**os.environ, VARIABLE: failpoint},
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, said = process.communicate()
    return process.returncode, said.decode()


def keys(warehouse: Path) -> list[int]:
    return sorted(deltalake.DeltaTable(str(warehouse / "s" / "t")).to_pyarrow_table()["k"].to_pylist())


def test_twelve_kills_of_four_runs_leave_every_row_once(spark_url: str, warehouse: Path) -> None:
    for step in range(4):
        for attempt, place in enumerate(PLACES):
            code, said = finish(start(spark_url, warehouse, attempt, step, place))
            assert code == -signal.SIGKILL, said
        code, said = finish(start(spark_url, warehouse, len(PLACES), step))
        assert code == 0, said
        assert keys(warehouse) == list(range(100 * (step + 1)))
    assert Ledger(warehouse / "s" / "t" / "_wfengine" / "ledger.jsonl").open_plans() == []


def test_two_processes_with_the_same_batch_at_once_write_it_once(spark_url: str, warehouse: Path) -> None:
    processes = [start(spark_url, warehouse, attempt, 0) for attempt in range(2)]
    assert [finish(process) for process in processes] == [(0, ""), (0, "")]
    assert keys(warehouse) == list(range(100))
