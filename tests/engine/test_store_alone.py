"""A home that is thrown away, and changes that are committed together (docs/testing.md)."""

from __future__ import annotations

import sqlite3

import pytest
from ticking import START, SetClock, job

from wfengine.states import LifeCycle, Trigger
from wfengine.store import Store


def make(store: Store, name: str) -> int:
    run, _ = store.create_run(job(name), parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=START)
    return run.run_id


def make_in_vain(store: Store) -> None:
    with store.grouped():
        make(store, "b")
        raise ZeroDivisionError


def others_see(home) -> int:
    connection = sqlite3.connect(home / "state.db")
    count = connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]
    connection.close()
    return count


def test_what_is_grouped_is_committed_as_one(tmp_path):
    with Store.open(tmp_path, SetClock()) as store:
        with store.grouped():
            make(store, "a")
            make(store, "b")
            assert others_see(tmp_path) == 0
        assert others_see(tmp_path) == 2


def test_a_part_of_a_group_that_raises_is_undone_alone(tmp_path):
    with Store.open(tmp_path, SetClock()) as store:
        with store.grouped():
            first = make(store, "a")
            with pytest.raises(ZeroDivisionError):
                make_in_vain(store)
            third = make(store, "c")
        assert [run.run_id for run in store.runs()] == [third, first]


def test_a_group_that_raises_is_undone_as_a_whole(tmp_path):
    with Store.open(tmp_path, SetClock()) as store:
        with pytest.raises(ZeroDivisionError):
            make_in_vain(store)
        assert store.runs() == []
        make(store, "b")
        assert others_see(tmp_path) == 1


def test_a_home_alone_has_runs_but_no_owners_and_no_events(tmp_path):
    with Store.open(tmp_path, SetClock(), alone=True) as store:
        run_id = make(store, "a")
        lock = store.own(run_id)
        with lock, store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING, start_time=START)
        assert store.run(run_id).state is LifeCycle.RUNNING
        assert store.events(run_id) == []
        assert not (tmp_path / "runs").exists()
