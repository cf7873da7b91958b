"""Each break of a rule, made by hand in the state of a home, is named (docs/operating.md, Looking after a home)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import controlled
import pytest
from controlled import World, echo, for_each

from wfengine.app import Engine
from wfengine.cli import main
from wfengine.spark.ledger import Ledger
from wfengine.states import Trigger
from wfengine.store import NewRun, Reopening
from wfengine.store.ticks import LedgerTx

JOB = controlled.job(
    echo("load"),
    echo("flaky", "load", text="flaky", max_retries=1),
    for_each("each", [1, 2], echo("one")),
    echo("last", "flaky"),
    name="main",
    max_concurrent_runs=10,
)


def answer(payload: dict[str, Any]) -> dict[str, Any]:
    first = payload["identity"].get("attempt_number", 0) == 0
    return controlled.failure("once") if payload["config"]["text"] == "flaky" and first else {"status": "success"}


def populate(home: Path) -> World:
    """Make a home with a run, a repaired run, a failed one, a cancelled one, one that waits, and ticks."""
    world = World(home, (JOB,), answer)
    world.run(JOB)
    again = world.run(JOB).run_id
    world.store.reopen(again, Reopening(job=JOB, task_keys={"last"}, parameters={}, repair_count=0, by="daemon"))
    world.fleet.take_up(again)
    world.finish(again)
    world.run(controlled.job(echo("flaky", text="flaky"), name="fails"))
    lead = world.store.lead("daemon")
    with world.store.leading(lead) as tx:
        tick(tx, 1_000, run=True)
        cancelled = tick(tx, 2_000, run=True)
        tick(tx, 3_000, run=False)
    with world.store.leading(lead) as tx:
        assert tx.cancel(cancelled, "not wanted")
    return world


def tick(tx: LedgerTx, due: int, *, run: bool) -> int:
    (job_id,) = tx.job_ids([JOB.name]).values()
    if not run:
        tx.missed(job_id, JOB.name, due, "down", through=due, count=1)
        return 0
    new = NewRun(job=JOB, parameters=lambda *ids: {}, trigger=Trigger.PERIODIC, trigger_time=due, by="daemon")
    return tx.run(job_id, new)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose home breaks no rule."""
    project = tmp_path_factory.mktemp("sound")
    world = populate(project / ".wfengine")
    world.fleet.close()
    world.store.close()
    return project


@pytest.fixture
def project(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "project"))


@pytest.fixture
def state(project: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(project / ".wfengine" / "state.db", isolation_level=None)
    yield connection
    connection.close()


def breaks(project: Path) -> list[str]:
    return [str(each) for each in Engine(project=project).audit().breaks]


def test_a_home_with_retries_repairs_loops_cancels_and_ticks_breaks_no_rule(project: Path) -> None:
    found = Engine(project=project).audit()
    assert (found.breaks, found.unchecked, found.runs, found.tables) == ((), (), 5, 0)


FIRST = "run_id = (SELECT MIN(run_id) FROM runs)"
LOAD = f"task_key = 'load' AND {FIRST}"
#: What is done to the state, and what the audit says then.
BREAKS = {
    "a task of an ended run has not ended": (
        f"UPDATE attempts SET state = 'RUNNING', result = NULL, end_time = NULL WHERE {LOAD}",
        "run 1 task load: attempt 0 is RUNNING, and the run has ended (tasks)",
    ),
    "a task has no attempt": (
        f"DELETE FROM attempts WHERE task_key = 'last' AND {FIRST}",
        "run 1: there is no attempt of last (tasks)",
    ),
    "an attempt is missing in between": (
        f"DELETE FROM attempts WHERE task_key = 'flaky' AND attempt_number = 0 AND {FIRST}",
        "run 1 task flaky: its attempts are numbered [1] (attempts)",
    ),
    "an attempt goes on though another follows": (
        (
            "UPDATE attempts SET state = 'RUNNING', result = NULL, end_time = NULL"
            f" WHERE task_key = 'flaky' AND attempt_number = 0 AND {FIRST}"
        ),
        "run 1 task flaky: attempt 0 is RUNNING, and another follows (attempts)",
    ),
    "an end without a result": (
        f"UPDATE attempts SET result = NULL WHERE {LOAD}",
        "run 1 task load: attempt 0 is TERMINATED with result None",
    ),
    "a run that ended without an end": (
        f"UPDATE runs SET end_time = NULL WHERE {FIRST}",
        "run 1: it is TERMINATED with result SUCCESS and end None (states)",
    ),
    "a run counts other repairs": (
        f"UPDATE runs SET repair_count = 1 WHERE {FIRST}",
        "run 1: it counts 1 repairs and has 0 (states)",
    ),
    "a result that does not follow from the tasks": (
        f"UPDATE runs SET result = 'FAILED' WHERE {FIRST}",
        "run 1: it is FAILED, and by its tasks SUCCESS: no task failed (result)",
    ),
    "a run that was skipped with another result": (
        "UPDATE runs SET state = 'SKIPPED' WHERE result = 'CANCELED'",
        "it was SKIPPED with result CANCELED (result)",
    ),
    "a lost run that succeeded": (
        f"UPDATE runs SET state = 'INTERNAL_ERROR' WHERE {FIRST}",
        "run 1: it was lost with its engine, and its result is SUCCESS (result)",
    ),
    "the job as it was is gone": ("DELETE FROM snapshots", "run 1: the job as it was is not stored (result)"),
    "the end of a run was told twice": (
        (
            "INSERT INTO events SELECT run_id, number + 1, event FROM events"
            f" WHERE {FIRST} AND number = (SELECT MAX(number) FROM events WHERE {FIRST})"
        ),
        "run 1: its end was told 2 times, not 1 (events)",
    ),
    "the end of a run was never told": (
        f"DELETE FROM events WHERE {FIRST} AND event LIKE '%run_ended%'",
        "run 1: its end was told 0 times, not 1 (events)",
    ),
    "the end of a run was told otherwise": (
        f"UPDATE events SET event = json_set(event, '$.result', 'FAILED') WHERE {FIRST} AND event LIKE '%run_ended%'",
        "run 1: its end was told as FAILED, and it is SUCCESS (events)",
    ),
    "the end of a task was never told": (
        f"DELETE FROM events WHERE {FIRST} AND event LIKE '%task_ended%' AND event LIKE '%\"load\"%'",
        "run 1 task load: the end of attempt 0, TERMINATED, was told 0 times (events)",
    ),
    "the end of a task was told otherwise": (
        f"UPDATE attempts SET result = 'EXCLUDED' WHERE {LOAD}",
        "run 1 task load: the end of attempt 0 was told as SUCCESS, and it is EXCLUDED (events)",
    ),
    "a start was never told": (
        f"DELETE FROM events WHERE {FIRST} AND event LIKE '%task_started%' AND event LIKE '%\"load\"%'",
        "run 1 task load: the start of attempt 0 was told 0 times (events)",
    ),
    "an event is missing": (f"DELETE FROM events WHERE {FIRST} AND number = 1", "run 1: its events are not numbered"),
    "an attempt that was told of is gone": (
        f"DELETE FROM attempts WHERE task_key = 'each' AND iteration = 1 AND {FIRST}",
        "was told of, and there is none (events)",
    ),
    "a repair was never told": (
        "UPDATE events SET event = replace(event, 'run_repaired', 'run_queued')",
        "0 repairs were told, not 1 (events)",
    ),
    "an event follows the end": (
        "UPDATE events SET event = replace(event, 'run_repaired', 'run_queued')",
        "was told after the end of the run (order)",
    ),
    "a task started before its upstream ended": (
        f"""UPDATE events SET event = replace(replace(replace(event, '"load"', '"x"'), '"last"', '"load"'), '"x"', '"last"')
            WHERE {FIRST}""",
        "run 1 task flaky: it started before the end of load (order)",
    ),
    "a task started again after its end": (
        f"""UPDATE events SET event = replace(event, '"last"', '"load"') WHERE {FIRST}""",
        "run 1 task load: it started after its end (order)",
    ),
    "a tick without its run": (
        "UPDATE ticks SET run_id = NULL WHERE due = 1000",
        "its outcome is RUN and it names no run (ticks)",
    ),
    "a missed tick with a run": (
        "UPDATE ticks SET run_id = 1 WHERE outcome = 'MISSED'",
        "it was missed and names run 1",
    ),
    "a tick of a run that is gone": ("UPDATE ticks SET run_id = 999 WHERE due = 1000", "there is no run 999 (ticks)"),
    "a tick with the run of another instant": (
        "UPDATE ticks SET due = 1001 WHERE due = 1000",
        "is one of another job or instant (ticks)",
    ),
    "a scheduled run without a tick": (
        "DELETE FROM ticks WHERE due = 1000",
        "it was scheduled and has 0 ticks, not one (ticks)",
    ),
    "a delivery without its event": (
        "INSERT INTO deliveries (subscriber, run_id, number) VALUES ('mail', 1, 999)",
        "delivery 1-999-mail: there is no such event (deliveries)",
    ),
    "events of a run that is gone": (
        f"DELETE FROM runs WHERE {FIRST}",
        "run 1: there are events of it, and no such run (events)",
    ),
    "attempts of a run that is gone": (
        f"DELETE FROM runs WHERE {FIRST}",
        "run 1: there are attempts of it, and no such run (attempts)",
    ),
    "the id of a run came twice": (
        f"UPDATE attempts SET task_run_id = 1 WHERE {LOAD}",
        "run 1: an attempt of run 1 has the same id (ids)",
    ),
    "the id of a repair came twice": (
        "UPDATE repairs SET repair_id = 1",
        "repair 1: a run or an attempt has the same id (ids)",
    ),
    "the counter went back": ("UPDATE counter SET next = 2", "counter: the next id is 2, and"),
    "a job counts too few runs": ("UPDATE jobs SET runs = 1", "job main: run number 4 is beyond its count of 1 (ids)"),
    "a folder whose run is gone": (
        f"DELETE FROM runs WHERE {FIRST}",
        "run 1: it has a folder, and there is no such run (folders)",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_named(name: str, project: Path, state: sqlite3.Connection) -> None:
    statement, message = BREAKS[name]
    (project / ".wfengine" / "runs" / "1" / "run.jsonl").touch()
    assert state.execute(statement).rowcount > 0
    found = breaks(project)
    assert [each for each in found if message in each], found


def test_a_run_whose_folder_is_gone_is_named(project: Path) -> None:
    shutil.rmtree(project / ".wfengine" / "runs" / "1")
    assert breaks(project) == ["run 1: it was executed, and its folder is gone (folders)"]


def test_the_folder_of_a_run_that_was_never_stored_is_no_break(project: Path) -> None:
    """docs/reliability.md, D1: its process died between the lock and the commit."""
    folder = project / ".wfengine" / "runs" / "999"
    folder.mkdir()
    (folder / "owner.lock").touch()
    assert breaks(project) == []


def test_the_command_lists_breaks_and_says_so_by_its_exit_code(project: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(SystemExit) as fine:
        main(["audit"])
    assert (fine.value.code, capsys.readouterr().out) == (
        0,
        "5 runs and 0 tables with a ledger: nothing is broken\n",
    )
    shutil.rmtree(project / ".wfengine" / "runs" / "1")
    with pytest.raises(SystemExit) as broken:
        main(["audit", "--output", "json"])
    told = json.loads(capsys.readouterr().out)
    assert (broken.value.code, told["ok"], told["breaks"][0]["rule"]) == (1, False, "folders")


def batches(project: Path, *rows: int) -> tuple[Path, list[str]]:
    """Make a table with a ledger of batches of so many rows each."""
    deltalake = pytest.importorskip("deltalake", reason="needs the extra lakehouse")
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra lakehouse")
    path = project / "warehouse" / "sales" / "orders"
    ledger, ids = Ledger(path / "_wfengine" / "ledger.jsonl"), []
    for number, count in enumerate(rows):
        batch = ledger.plan(f"run {number}")
        data = {"id": pyarrow.array(range(count), pyarrow.int64()), "_batch_id": [batch.batch_id] * count}
        deltalake.write_deltalake(str(path), pyarrow.table(data), mode="append")
        ledger.done(batch.batch_id, rows=count)
        ids.append(batch.batch_id)
    return path, ids


def test_a_table_with_every_batch_once_is_sound(project: Path) -> None:
    """docs/reliability.md, E1."""
    path, _ = batches(project, 3, 5)
    ledger = Ledger(path / "_wfengine" / "ledger.jsonl")
    ledger.plan("never written")
    found = Engine(project=project).audit()
    assert (found.breaks, found.tables) == ((), 1)


def test_a_batch_that_is_confirmed_and_not_whole_is_named(project: Path) -> None:
    """docs/reliability.md, E1."""
    path, _ = batches(project, 3)
    ledger = Ledger(path / "_wfengine" / "ledger.jsonl")
    lost = ledger.plan("lost")
    ledger.done(lost.batch_id, rows=2)
    assert breaks(project) == [
        f"table sales.orders: batch {lost.batch_id} (lost) was confirmed with 2 rows, and the table has 0 (tables)"
    ]


def test_a_batch_that_is_there_twice_is_named_and_one_that_was_deleted_is_not(project: Path) -> None:
    """docs/reliability.md, E1."""
    path, (doubled, _) = batches(project, 3, 5)
    import deltalake
    import pyarrow

    deltalake.DeltaTable(str(path)).delete("id >= 3")
    assert breaks(project) == []
    deltalake.write_deltalake(str(path), pyarrow.table({"id": [1], "_batch_id": [doubled]}), mode="append")
    assert breaks(project) == [
        f"table sales.orders: batch {doubled} (run 0) was confirmed with 3 rows, and the table has 4 (tables)"
    ]


def test_tables_that_cannot_be_counted_are_said_not_to_be_checked(project: Path, monkeypatch) -> None:
    batches(project, 3)
    monkeypatch.setattr("wfengine.tablecheck.find_spec", lambda name: None)
    (said,) = Engine(project=project).audit().unchecked
    assert "pyarrow or deltalake is missing" in said
