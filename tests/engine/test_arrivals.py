"""When files, tables, intervals and ended runs make a job due (docs/triggers.md; docs/semantics.md, section 7)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from wfengine.arrivals import Continuous, FileArrival, Interval, Look, TableUpdate, files, parse
from wfengine.arrivals.clockwork import HEALTHY_MS, LONGEST_PAUSE_MS
from wfengine.arrivals.look import LOOK_MS
from wfengine.errors import ScheduleError
from wfengine.jobs import Job
from wfengine.runs import JobRun
from wfengine.states import LifeCycle, Result

NOW = 1_700_000_000_000
SECOND, MINUTE = 1_000, 60_000


class Looks:
    """Looks at a trigger again and again, and keeps its state as a store would: as JSON text."""

    def __init__(self, trigger):
        self.trigger = trigger
        self.text = "null"

    def __call__(self, now: int, *, store: bool = True) -> Look:
        state = json.loads(self.text)
        look = self.trigger.look(state, now)
        assert look.next_look > now
        if store and look.state is not state:
            self.text = json.dumps(look.state)
        return look

    @property
    def state(self) -> Any:
        return json.loads(self.text)


def put(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    put(tmp_path / "in" / "old.csv")
    return tmp_path / "in"


@pytest.fixture
def looks(folder) -> Looks:
    looks = Looks(FileArrival(folder=folder))
    looks(NOW)
    return looks


def test_files_that_were_there_at_first_are_no_arrival(folder):
    looks = Looks(FileArrival(folder=folder))
    look = looks(NOW)
    assert (look.due, look.next_look, look.fault) == (None, NOW + LOOK_MS, False)
    assert looks(NOW + 1).due is None


def test_a_new_file_is_due_once(folder, looks):
    put(folder / "deep" / "er" / "new.csv")
    look = looks(NOW + 5)
    assert (look.due, look.reason) == (NOW + 5, "new file deep/er/new.csv")
    assert looks(NOW + 6).due is None


def test_nothing_new_gives_back_the_very_same_state(folder, looks):
    state = looks.state
    assert looks.trigger.look(state, NOW + 5).state is state


def test_a_look_whose_state_was_not_stored_did_not_happen(folder, looks):
    put(folder / "new.csv")
    assert looks(NOW + 5, store=False).due == NOW + 5
    assert looks(NOW + 6).due == NOW + 6


def test_several_new_files_are_one_tick(folder, looks):
    put(folder / "b.csv")
    put(folder / "c.csv")
    look = looks(NOW + 5)
    assert (look.due, look.reason) == (NOW + 5, "2 new files, the first is b.csv")


def test_an_overwritten_file_is_no_arrival_and_a_renamed_one_is(folder, looks):
    put(folder / "old.csv", "longer than before")
    os.utime(folder / "old.csv", ns=(1, 1))
    assert looks(NOW + 1).due is None
    put(folder / ".upload", "again").replace(folder / "old.csv")
    assert looks(NOW + 2).due is None
    (folder / "old.csv").rename(folder / "other.csv")
    assert looks(NOW + 3).due == NOW + 3


def test_a_file_that_was_seen_to_be_gone_arrives_again(folder, looks):
    (folder / "old.csv").unlink()
    assert looks(NOW + 1).due is None
    put(folder / "old.csv")
    assert looks(NOW + 2).due == NOW + 2


def test_hidden_files_and_links_to_folders_do_not_count(folder, looks, tmp_path):
    for name in (".part", "_SUCCESS", ".tmp/a.csv", "_delta_log/0.json"):
        put(folder / name)
    put(tmp_path / "elsewhere" / "a.csv")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    assert looks(NOW + 1).due is None


def test_a_name_that_is_no_utf8_is_an_arrival_like_any_other(folder, looks):
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.csv")).write_text("x")
    assert looks(NOW + 1).reason == "new file caf\\xe9.csv"
    assert looks(NOW + 2).due is None


def test_a_folder_that_is_not_there_is_said_and_filled_by_the_first_delivery(tmp_path):
    """docs/reliability.md, E8: a missing path is never taken for an empty one in silence."""
    looks = Looks(FileArrival(folder=tmp_path / "in"))
    look = looks(NOW)
    assert (look.due, look.fault, look.reason) == (None, True, f"{tmp_path / 'in'} is not there")
    put(tmp_path / "in" / "a.csv")
    look = looks(NOW + 1)
    assert (look.due, look.fault) == (NOW + 1, False)


def test_a_folder_that_cannot_be_listed_changes_nothing(folder, looks, monkeypatch):
    before = looks.text
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        look = looks(NOW + 1)
    assert (look.due, look.fault, looks.text) == (None, True, before)
    assert "cannot be listed: Permission denied" in look.reason
    put(folder / "new.csv")
    assert looks(NOW + 2).due == NOW + 2


def test_a_file_instead_of_a_folder_is_a_fault(tmp_path):
    look = FileArrival(folder=put(tmp_path / "in")).look(None, NOW)
    assert (look.fault, look.due) == (True, None)
    assert "Not a directory" in look.reason


def test_too_many_files_are_refused_with_what_to_do(folder, looks, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILES", 3)
    for number in range(9):
        put(folder / f"{number}.csv")
    look = looks(NOW + 1)
    assert (look.due, look.fault) == (None, True)
    assert "more than 3 files (name a subfolder" in look.reason


def test_a_large_folder_is_looked_at_less_often(folder, looks, monkeypatch):
    monkeypatch.setattr(files, "_paths", lambda folder: {f"{number}.csv" for number in range(100_000)})
    assert looks(NOW + 1).next_look == NOW + 1 + 100_000


def test_a_burst_waits_until_the_last_change_is_long_enough_ago(folder):
    looks = Looks(FileArrival(folder=folder, wait_after_last_change_seconds=60))
    looks(NOW)
    put(folder / "a.csv")
    look = looks(NOW + SECOND)
    assert (look.due, look.next_look) == (None, NOW + SECOND + LOOK_MS)
    put(folder / "a.csv", "grown")
    assert looks(NOW + 50 * SECOND).due is None
    put(folder / "b.csv")
    assert looks(NOW + 100 * SECOND).due is None
    look = looks(NOW + 155 * SECOND)
    assert (look.due, look.next_look) == (None, NOW + 160 * SECOND)
    assert "waits until 2023-11-14T22:16:00.000Z" in look.reason
    assert looks(NOW + 160 * SECOND).due == NOW + 160 * SECOND
    assert looks(NOW + 161 * SECOND).due is None


def test_ticks_keep_their_distance(folder):
    looks = Looks(FileArrival(folder=folder, min_time_between_triggers_seconds=600))
    looks(NOW)
    put(folder / "a.csv")
    assert looks(NOW + SECOND).due == NOW + SECOND
    put(folder / "b.csv")
    assert looks(NOW + MINUTE).due is None
    put(folder / "c.csv")
    look = looks(NOW + 600 * SECOND)
    assert (look.due, look.next_look) == (None, NOW + 601 * SECOND)
    assert looks(NOW + 601 * SECOND).due == NOW + 601 * SECOND


def test_a_clock_that_is_set_back_delays_nothing_beyond_the_usual(folder):
    """docs/reliability.md, D13"""
    looks = Looks(FileArrival(folder=folder, min_time_between_triggers_seconds=60, wait_after_last_change_seconds=30))
    looks(NOW)
    put(folder / "a.csv")
    looks(NOW + SECOND)
    assert looks(NOW + MINUTE).due == NOW + MINUTE
    put(folder / "b.csv")
    back = NOW - 10 * 365 * 24 * 60 * MINUTE
    assert looks(back).due is None
    assert looks(back + MINUTE).due == back + MINUTE


# -- tables -----------------------------------------------------------------------------------------------------------


class Table:
    """A Delta log written by hand."""

    def __init__(self, warehouse: Path, name: str):
        self.log = warehouse.joinpath(*name.split(".")) / "_delta_log"
        self.version = -1

    def commit(self, *actions: dict[str, Any]) -> None:
        self.version += 1
        put(self.log / f"{self.version:020d}.json", "\n".join(json.dumps(action) for action in actions))

    def add(self, **fields: Any) -> None:
        self.commit({"commitInfo": {}}, {"add": {"path": "p", **fields}})


@pytest.fixture
def sales(warehouse) -> Table:
    table = Table(warehouse, "raw.sales")
    table.add(dataChange=True)
    return table


def update(warehouse: Path, *names: str, **more: Any) -> TableUpdate:
    given = {"table_update": {"table_names": list(names), **more}}
    found = parse(Job(name="a", tasks=(), trigger=given), root=warehouse, warehouse=warehouse)
    assert isinstance(found, TableUpdate)
    return found


def test_a_new_version_of_a_table_is_due_once(warehouse, sales):
    looks = Looks(update(warehouse, "raw.sales"))
    assert looks(NOW).due is None
    assert looks(NOW + 1).due is None
    sales.add(dataChange=True)
    sales.add(dataChange=True)
    look = looks(NOW + 2)
    assert (look.due, look.reason) == (NOW + 2, "updated: raw.sales (version 2)")
    assert looks(NOW + 3).due is None


def test_commits_that_change_no_data_do_not_count(warehouse, sales):
    looks = Looks(update(warehouse, "raw.sales"))
    looks(NOW)
    sales.add(dataChange=False)
    sales.commit({"commitInfo": {"operation": "SET TBLPROPERTIES"}}, {"metaData": {"id": "x"}})
    assert looks(NOW + 1).due is None
    sales.commit({"remove": {"path": "p"}})
    sales.add(dataChange=False)
    assert looks(NOW + 2).due == NOW + 2


def test_a_commit_whose_file_was_cleaned_up_counts(warehouse, sales):
    looks = Looks(update(warehouse, "raw.sales"))
    looks(NOW)
    sales.add(dataChange=False)
    (sales.log / f"{1:020d}.json").rename(sales.log / f"{1:020d}.checkpoint.parquet")
    assert looks(NOW + 1).due == NOW + 1


def test_any_table_or_all_tables(warehouse, sales):
    orders = Table(warehouse, "raw.orders")
    orders.add()
    any_of = Looks(update(warehouse, "raw.sales", "raw.orders"))
    all_of = Looks(update(warehouse, "raw.sales", "raw.orders", condition="ALL_UPDATED"))
    any_of(NOW)
    all_of(NOW)
    sales.add()
    assert any_of(NOW + 1).due == NOW + 1
    look = all_of(NOW + 1)
    assert (look.due, look.reason) == (None, "waits for raw.orders")
    orders.add()
    assert any_of(NOW + 2).due == NOW + 2
    assert all_of(NOW + 2).due == NOW + 2
    orders.add()
    assert all_of(NOW + 3).due is None


def test_a_table_that_is_not_there_is_said_and_due_when_it_is_made(warehouse):
    """docs/reliability.md, E8"""
    looks = Looks(update(warehouse, "raw.sales"))
    look = looks(NOW)
    assert (look.due, look.fault) == (None, True)
    assert look.reason == "waits for raw.sales; there is no table raw.sales"
    Table(warehouse, "raw.sales").add()
    assert looks(NOW + 1).due == NOW + 1


def test_a_table_that_is_made_anew_counts_and_one_that_is_dropped_does_not(warehouse, sales):
    sales.add()
    looks = Looks(update(warehouse, "raw.sales"))
    looks(NOW)
    sales.log.parent.rename(warehouse / "away")
    assert looks(NOW + 1).due is None
    Table(warehouse, "raw.sales").add()
    assert looks(NOW + 2).due == NOW + 2


def test_a_table_that_is_added_to_the_list_starts_as_it_is(warehouse, sales):
    looks = Looks(update(warehouse, "raw.sales"))
    looks(NOW)
    Table(warehouse, "raw.orders").add()
    looks.trigger = update(warehouse, "raw.sales", "raw.orders")
    assert looks(NOW + 1).due is None
    sales.add()
    assert looks(NOW + 2).due == NOW + 2


def test_a_log_that_cannot_be_read_changes_nothing(warehouse, sales):
    looks = Looks(update(warehouse, "raw.sales"))
    looks(NOW)
    before = looks.text
    sales.commit({})
    (sales.log / f"{1:020d}.json").write_text('{"add": ')
    look = looks(NOW + 1)
    assert (look.due, look.fault, looks.text) == (None, True, before)
    sales.version = 0
    sales.add()
    assert looks(NOW + 2).due == NOW + 2


def test_updates_of_tables_wait_like_files(warehouse, sales):
    looks = Looks(
        update(warehouse, "raw.sales", wait_after_last_change_seconds=60, min_time_between_triggers_seconds=300)
    )
    looks(NOW)
    sales.add()
    assert looks(NOW + SECOND).due is None
    sales.add()
    assert looks(NOW + 50 * SECOND).due is None
    look = looks(NOW + 105 * SECOND)
    assert (look.due, look.next_look) == (None, NOW + 110 * SECOND)
    assert looks(NOW + 110 * SECOND).due == NOW + 110 * SECOND
    sales.add()
    looks(NOW + 120 * SECOND)
    assert looks(NOW + 409 * SECOND).due is None
    assert looks(NOW + 410 * SECOND).due == NOW + 410 * SECOND


# -- intervals and runs -----------------------------------------------------------------------------------------------


def test_an_interval_counts_from_the_moment_it_was_first_seen():
    due = Interval(interval=6, unit="HOURS").due(NOW)
    assert due.between(NOW, NOW + 13 * 60 * MINUTE, 9) == [NOW + 6 * 60 * MINUTE, NOW + 12 * 60 * MINUTE]


def run(result: Result = Result.SUCCESS, *, end: int | None = NOW, lasted: int = 100, **more: Any) -> JobRun:
    state = LifeCycle.RUNNING if end is None else LifeCycle.TERMINATED
    start = (end or NOW) - lasted
    return JobRun(**{
        "run_id": 1, "job_id": 1, "job_name": "a", "state": state, "result": None if end is None else result,
        "start_time": start, "end_time": end, **more,
    })  # fmt: skip


FAILED = run(Result.FAILED)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], NOW + 5),
        ([run(end=None)], None),
        ([run(end=None, state=LifeCycle.QUEUED), FAILED], None),
        ([run()], NOW + 1_000),
        ([run(Result.SUCCESS_WITH_FAILURES), FAILED], NOW + 1_000),
        ([run(Result.CANCELED), FAILED], NOW + 1_000),
        ([FAILED], NOW + 2_000),
        ([run(Result.TIMEDOUT), FAILED, run()], NOW + 4_000),
        ([FAILED] * 3, NOW + 8_000),
        ([FAILED] * 12, NOW + LONGEST_PAUSE_MS),
        ([FAILED] * 5_000, NOW + LONGEST_PAUSE_MS),
        ([run(Result.FAILED, lasted=HEALTHY_MS), FAILED, FAILED], NOW + 2_000),
        ([run(Result.FAILED, end=NOW + 99)], NOW + 5),
        ([run(state=LifeCycle.SKIPPED), FAILED], NOW + 2_000),
        ([run(state=LifeCycle.INTERNAL_ERROR, result=None)], NOW + 2_000),
    ],
)
def test_a_continuous_job_follows_its_runs(runs, expected):
    assert Continuous().next_start(runs, NOW + 5) == expected


# -- from the job file ------------------------------------------------------------------------------------------------


def job(tmp_path: Path, **fields: Any) -> Job:
    return Job(name="a", tasks=(), path=str(tmp_path / "conf" / "a.yml"), **fields)


@pytest.mark.parametrize(
    "url", ["../in", "{root}/in", "file:{root}/in", "file://{root}/in/", "file://localhost{root}/%69n"]
)
def test_a_folder_is_named_by_a_path_or_a_url(tmp_path, url):
    given = job(tmp_path, trigger={"file_arrival": {"url": url.format(root=tmp_path)}})
    assert parse(given, root=tmp_path, warehouse=tmp_path) == FileArrival(folder=tmp_path / "in")


@pytest.mark.parametrize("url", ["s3://bucket/in", "abfss:/x", "file://host/in"])
def test_a_folder_on_another_machine_is_refused(tmp_path, url):
    with pytest.raises(ScheduleError, match=r"trigger\.file_arrival\.url .*is not a folder on this machine"):
        parse(job(tmp_path, trigger={"file_arrival": {"url": url}}), root=tmp_path, warehouse=tmp_path)


@pytest.mark.parametrize("url", ["/etc", "../../..", "file:/etc", "link"])
def test_a_folder_outside_the_project_is_refused(tmp_path, url):
    """docs/reliability.md, C12"""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "link").symlink_to("/etc")
    with pytest.raises(ScheduleError, match="lies outside the project"):
        parse(job(tmp_path, trigger={"file_arrival": {"url": url}}), root=tmp_path, warehouse=tmp_path)


def test_a_bad_table_name_is_refused(tmp_path):
    given = job(tmp_path, trigger={"table_update": {"table_names": ["raw.sales", "a b"]}})
    with pytest.raises(ScheduleError, match=r"table_names\[1\].*'a b' is not a table name"):
        parse(given, root=tmp_path, warehouse=tmp_path)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"trigger": {"periodic": {"interval": 2, "unit": "DAYS"}}}, Interval(interval=2, unit="DAYS")),
        ({"continuous": {"pause_status": "PAUSED"}}, Continuous(pause_status="PAUSED")),
        ({"continuous": {"task_retry_mode": "NEVER"}}, Continuous()),
    ],
)
def test_a_job_has_at_most_one_trigger(tmp_path, fields, expected):
    assert parse(job(tmp_path, **fields), root=tmp_path, warehouse=tmp_path) == expected


@pytest.mark.parametrize(
    "kind",
    [
        {"periodic": {"interval": 1, "unit": "HOURS"}},
        {"file_arrival": {"url": "in"}},
        {"table_update": {"table_names": ["a"]}},
    ],
)
def test_pause_status_pauses_each_trigger(tmp_path, kind):
    paused = parse(job(tmp_path, trigger={**kind, "pause_status": "PAUSED"}), root=tmp_path, warehouse=tmp_path)
    running = parse(job(tmp_path, trigger=kind), root=tmp_path, warehouse=tmp_path)
    assert paused is not None
    assert running is not None
    assert (paused.paused, running.paused) == (True, False)
