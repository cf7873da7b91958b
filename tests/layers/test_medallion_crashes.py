"""A medallion task that dies anywhere is finished by the next attempt (docs/reliability.md, E1, E2)."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import medallion
import pytest
from medallion import Project

from wfengine.spark import fence

pytestmark = [pytest.mark.spark, pytest.mark.faults]

BRONZE = {"source": "in", "table": "bronze.sales"}
SILVER = {
    "input": "bronze.sales",
    "table": "silver.sales",
    "columns": {"id": "int"},
    "valid": [{"name": "positive", "where": "id > 0"}],
}
DAY = "id\n1\n2\n0\nbro,ken\n"
#: Kind of task, its config, and the place where it dies.
CASES: list[tuple[str, dict[str, Any], str]] = [
    *(("bronze", BRONZE, f"bronze.after_{place}") for place in ("plan", "data", "quarantine", "done")),
    *(
        ("bronze", {**BRONZE, "mode": "full"}, f"bronze.after_{place}")
        for place in ("plan", "data", "quarantine", "done")
    ),
    *(("silver", SILVER, f"silver.after_{place}") for place in ("data", "quarantine")),
    *(("silver", {**SILVER, "mode": "append"}, f"silver.after_{p}") for p in ("plan", "data", "quarantine", "done")),
]
NAMES = [f"{config.get('mode', kind)} {place}" for kind, config, place in CASES]
#: What a batch whose file disappears or changes before the next attempt had reached when it died.
LOST = ["bronze.after_plan", "bronze.after_data", "bronze.after_quarantine"]


@pytest.fixture(scope="module")
def dead(spark_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Projects with one finished day, and a second one during which the task died; by what follows and where it died."""
    seeds = {}
    runs = []
    for kind, config in ((k, c) for k, c, place in CASES if place.endswith("after_data")):
        root = seeds[_key(kind, config)] = tmp_path_factory.mktemp("seed")
        bronze = {"root": str(root), "kind": "bronze", "config": BRONZE, "place": ""}
        whole = {**bronze, "kind": kind, "config": config}
        first, second = {"in/1.csv": "id\n10\n-1\n"}, {"in/2.csv": DAY}
        runs.append({**(bronze if kind == "silver" else whole), "files": first})
        runs += [whole, {**bronze, "files": second}] if kind == "silver" else []
    assert set(_run(spark_url, runs)) == {0}
    roots, kills = {}, []
    cases = [("death", *case, name) for case, name in zip(CASES, NAMES, strict=True)]
    cases += [(what, "bronze", BRONZE, place, place) for what in ("gone", "changed") for place in LOST]
    for what, kind, config, place, name in cases:
        root = roots[what, name] = tmp_path_factory.mktemp("dead")
        shutil.copytree(seeds[_key(kind, config)], root, dirs_exist_ok=True)
        (root / "in/2.csv").write_text(DAY)
        kills.append({"root": str(root), "kind": kind, "config": config, "place": place})
    assert set(_run(spark_url, kills)) == {signal.SIGKILL}
    return roots


def _key(kind: str, config: dict[str, Any]) -> tuple[str, str]:
    return kind, config.get("mode", "")


def _run(url: str, cases: list[dict[str, Any]]) -> list[int]:
    done = subprocess.run(
        [sys.executable, medallion.__file__, url], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def revived(dead, connect):
    """Open a project in which a task died."""

    def open_project(what: str, name: str) -> Project:
        root = dead[what, name]
        return Project(root, lambda: connect(warehouse=root / "warehouse", base=root))

    return open_project


@pytest.mark.parametrize(("case", "name"), list(zip(CASES, NAMES, strict=True)), ids=NAMES)
def test_the_next_attempt_loses_and_doubles_nothing(revived, case, name):
    kind, config, _ = case
    project = revived("death", name)
    for _ in range(2):
        project.run(kind, **config)
    table = config["table"]
    if kind == "bronze":
        assert project.rows(table, "id") == sorted(["10", "-1", "1", "2", "0"])
        assert project.rows(f"{table}_quarantine", "_record") == ["bro,ken"]
    else:
        assert project.rows(table, "id") == [1, 10, 2]
        assert project.rows(f"{table}_quarantine", "id") == ["-1", "0"]


@pytest.mark.parametrize("place", LOST)
def test_rows_that_were_committed_survive_the_loss_of_their_file(revived, place):
    """The table holds all rows of an unfinished batch or none; a file that is gone is told of."""
    project = revived("gone", place)
    (project.root / "in/2.csv").unlink()
    result = project.run("bronze", **BRONZE)
    committed = place != "bronze.after_plan"
    assert project.rows("bronze.sales", "id") == sorted(["10", "-1"] + (["1", "2", "0"] if committed else []))
    what = "their rows are in the table" if committed else "they are not ingested"
    assert any(f"gone or changed: in/2.csv; {what}" in warning for warning in result.facts.warnings)
    assert project.counts(project.run("bronze", **BRONZE)) == (0, 0, 0, None)


@pytest.mark.parametrize("place", LOST)
def test_a_file_that_changed_meanwhile_is_ingested_as_new_content(revived, place):
    project = revived("changed", place)
    (project.root / "in/2.csv").write_text("id\n77\n")
    project.run("bronze", **BRONZE)
    committed = place != "bronze.after_plan"
    expected = ["10", "-1", "77"] + (["1", "2", "0"] if committed else [])
    assert project.rows("bronze.sales", "id") == sorted(expected)
    assert project.counts(project.run("bronze", **BRONZE)) == (0, 0, 0, None)


def test_what_a_killed_writer_still_does_is_stopped_by_the_next(project: Project, monkeypatch):
    """E1: the engine goes on with what a killed client began, and would commit it after the next attempt's rows."""
    stopped = []
    monkeypatch.setattr(fence, "interrupt", lambda spark, session: stopped.append(session))
    project.write("in/1.csv", "id\n1\n")
    project.run("bronze", **BRONZE)
    marker = project.path("bronze.sales") / "_wfengine" / "writing"
    assert not marker.exists()
    marker.write_text("session-of-the-dead")
    project.write("in/2.csv", "id\n2\n")
    project.run("bronze", **BRONZE)
    assert stopped == ["session-of-the-dead"]
    assert not marker.exists()


def test_an_append_that_began_before_the_fence_cannot_commit(project: Project):
    """E1: an append conflicts with nothing but a change of the table's metadata."""
    import deltalake
    import pyarrow as pa

    folder = str(project.path("bronze.sales"))
    deltalake.write_deltalake(folder, pa.table({"_batch_id": ["1"]}))
    begun = deltalake.DeltaTable(folder)
    assert not project.context("bronze", BRONZE).tables.holds_batch("bronze.sales", "2")
    with pytest.raises(deltalake.exceptions.CommitFailedError, match=r"[Mm]etadata"):
        deltalake.write_deltalake(begun, pa.table({"_batch_id": ["2"]}), mode="append")
