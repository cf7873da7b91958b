"""Iterations and child runs in the store (docs/semantics.md, section 6)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from wfengine.clock import SystemClock
from wfengine.errors import StateError
from wfengine.jobs import Job, Task
from wfengine.runs import JobRun
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store import Store
from wfengine.store.database import APPLICATION_ID, migrations

#: The schema before there were iterations.
BEFORE = 3


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "home", SystemClock()) as store:
        yield store


def create(store: Store, name: str = "j", **more: object) -> JobRun:
    job = Job(name=name, tasks=(Task(task_key="loop", kind="for_each"), Task(task_key="t", kind="shell")))
    run, _ = store.create_run(
        job, parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=0, by="daemon", **more
    )  # type: ignore[arg-type]
    return run


def test_iterations_have_ids_and_attempts_of_their_own(store: Store) -> None:
    run = create(store)
    lock = store.own(run.run_id)
    assert lock is not None
    with store.transaction(lock) as tx:
        first = tx.add_iterations("loop", {0: 0, 1: 0, 2: 0})
        tx.attempt(first + 1, LifeCycle.PENDING, state=LifeCycle.RUNNING)
        tx.attempt(first + 1, LifeCycle.RUNNING, state=LifeCycle.TERMINATED, result=Result.FAILED)
        tx.add_attempt("loop", 1, LifeCycle.WAITING_FOR_RETRY, 5, iteration=1)
    found = store.run(run.run_id)
    assert [(a.task_key, a.iteration) for a in found.attempts] == [("loop", -1), ("t", -1)]
    assert [(a.iteration, a.attempt_number) for a in found.iterations] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert [str(a.result or a.state) for a in found.iterated("loop")] == ["PENDING", "WAITING_FOR_RETRY", "PENDING"]
    assert len({a.run_id for a in (*found.attempts, *found.iterations)}) == 6
    assert store.runs()[0].iterations == ()


def test_an_attempt_of_an_iteration_out_of_turn_is_refused(store: Store) -> None:
    run = create(store)
    lock = store.own(run.run_id)
    assert lock is not None
    with pytest.raises(StateError, match="can have no attempt 1"), store.transaction(lock) as tx:
        tx.add_attempt("loop", 1, LifeCycle.WAITING_FOR_RETRY, iteration=0)
    with pytest.raises(StateError, match="has no task 'other'"), store.transaction(lock) as tx:
        tx.add_iterations("other", {0: 0})


def test_a_child_is_found_by_the_attempt_that_asked_for_it_and_there_is_one_only(store: Store) -> None:
    top = create(store, "top")
    task_run_id = top.attempts[1].run_id
    child = create(store, "child", parent=(top.run_id, task_run_id))
    assert (child.parent_run_id, child.parent_task_run_id) == (top.run_id, task_run_id)
    assert (store.child(task_run_id), store.child(top.run_id)) == (child.run_id, None)
    assert store.lineage(child.run_id) == ["top", "child"]
    assert store.job_name(child.job_id) == "child"
    with pytest.raises(StateError):
        create(store, "child", parent=(top.run_id, task_run_id))
    assert len(store.runs()) == 2


def test_attempts_from_before_there_were_iterations_are_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with sqlite3.connect(home / "state.db") as old:
        for script in migrations()[:BEFORE]:
            old.executescript(script)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute(f"PRAGMA user_version = {BEFORE}")
        old.execute("INSERT INTO jobs (job_id, name, runs) VALUES (1, 'j', 1)")
        old.execute('INSERT INTO snapshots (sha256, job) VALUES (x\'00\', \'{"name":"j","tasks":[]}\')')
        old.execute(
            "INSERT INTO runs (run_id, job_id, number_in_job, snapshot, state, trigger_type, trigger_time)"
            " VALUES (1, 1, 1, x'00', 'TERMINATED', 'ONE_TIME', 5)"
        )
        old.execute(
            "INSERT INTO attempts (task_run_id, run_id, position, task_key, attempt_number, state, result, output)"
            " VALUES (2, 1, 0, 't', 0, 'TERMINATED', 'SUCCESS', '{\"a\":1}')"
        )
    old.close()
    with Store.open(home, SystemClock()) as store:
        (attempt,) = store.run(1).attempts
        assert (attempt.run_id, attempt.iteration, attempt.result, attempt.output) == (2, -1, Result.SUCCESS, {"a": 1})
        assert store.run(1).parent_run_id is None
