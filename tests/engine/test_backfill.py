"""The steps of a backfill, and how a run waits for its place (docs/semantics.md, sections 7 and 8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ticking import DAY, HOUR, START, SetClock, at, job

from wfengine import backfill, values
from wfengine.app.attending import Waiter
from wfengine.errors import UsageError
from wfengine.events import RunEnded
from wfengine.scheduler.scheduler import QUEUE_MS
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store import Store


@pytest.mark.parametrize(
    "text", ["2026-03-01", "2026-03-01T00:00", "2026-03-01T00:00:00Z", "2026-03-01T02:00+02:00", " 2026-03-01 00:00 "]
)
def test_an_instant_is_in_utc_unless_it_says_otherwise(text):
    assert backfill.instant(text) == at("2026-03-01 00:00")


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "", "1"])
def test_what_is_no_instant_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="write 2026-01-31"):
        backfill.instant(text)


def test_lengths_are_numbers_with_a_unit():
    assert [backfill.length(text) for text in ("1d", "36h", "90m", "2w")] == [DAY, 36 * HOUR, 90 * 60_000, 14 * DAY]


@pytest.mark.parametrize("text", ["0d", "d", "1", "-1d", "1y", "1.5h", ""])
def test_what_is_no_length_is_refused(text):
    with pytest.raises(UsageError, match="as in 1d or 12h"):
        backfill.length(text)


def test_both_ends_of_the_range_are_steps():
    assert list(backfill.instants(START, START + 2 * DAY, DAY)) == [START, START + DAY, START + 2 * DAY]
    assert list(backfill.instants(START, START, DAY)) == [START]
    assert list(backfill.instants(START, START + DAY + 1, DAY)) == [START, START + DAY]


def test_a_range_of_nothing_and_one_of_far_too_much_are_refused():
    with pytest.raises(UsageError, match="ends before it starts"):
        backfill.instants(START, START - 1, DAY)
    with pytest.raises(UsageError, match="has 10001 steps"):
        backfill.instants(START, START + 10_000 * DAY, DAY)


def test_a_token_tells_jobs_backfills_and_steps_apart_and_fits():
    tokens = {backfill.token(*of) for of in (("a", "x", 1), ("b", "x", 1), ("a", "y", 1), ("a", "x", 2), ("a", "x", 1))}
    assert len(tokens) == 4
    assert max(map(len, tokens)) <= 64


def test_the_made_name_is_that_of_the_same_command_whatever_its_range():
    name = backfill.default_name({"a": "1", "b": "2"}, ("t",), DAY)
    assert backfill.default_name({"b": "2", "a": "1"}, ("t",), DAY) == name
    assert (
        len(
            {
                name,
                *(
                    backfill.default_name(*o)
                    for o in (({}, ("t",), DAY), ({"a": "1", "b": "2"}, (), DAY), ({"a": "1", "b": "2"}, ("t",), HOUR))
                ),
            }
        )
        == 4
    )


def test_the_default_of_a_parameter_may_name_the_step():
    from wfengine.jobs import Parameter

    dated = job(parameters=(Parameter("day", "{{backfill.iso_date}}"),))
    make = values.parameters_by_ids(dated, {}, Trigger.ONE_TIME, trigger_time=START, start_time=0, backfill=START)
    assert make(1, 2) == {"day": "2026-01-01"}


# -- places among the runs of a job -----------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def store(tmp_path: Path, clock):
    with Store.open(tmp_path / "home", clock) as store:
        yield store


QUEUEING = job(queue_enabled=True)


def create(store, of=QUEUEING, by="here", **more):
    given = {"trigger": Trigger.ONE_TIME, "trigger_time": START, **more}
    return store.create_run(of, parameters=lambda *ids: {}, by=by, **given)[0]


def end(store, run_id):
    lock = store.own(run_id)
    with lock, store.transaction(lock) as tx:
        tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING)
        tx.run(LifeCycle.RUNNING, state=LifeCycle.TERMINATED, result=Result.SUCCESS)


@pytest.mark.parametrize("by", ["here", "daemon"])
def test_the_limit_is_the_same_whoever_executes_the_run(store, by):
    assert create(store, job(), by).state is LifeCycle.PENDING
    over = create(store, job(), by)
    assert (over.state, over.result) == (LifeCycle.SKIPPED, Result.MAXIMUM_CONCURRENT_RUNS_REACHED)
    assert over.message == "1 of at most 1 runs of this job were active"
    assert over.attempts == ()


def test_places_are_given_in_the_order_of_the_queue(store):
    first, second, third = (create(store) for _ in range(3))
    assert [store.claim_place(run.run_id, 1) for run in (first, second, third)] == ["PENDING", "QUEUED", "QUEUED"]
    end(store, first.run_id)
    assert store.claim_place(third.run_id, 1) is LifeCycle.QUEUED
    assert store.claim_place(second.run_id, 1) is LifeCycle.PENDING
    assert store.claim_place(third.run_id, 1) is LifeCycle.QUEUED


def test_who_has_waited_for_two_days_waits_no_longer(store, clock):
    create(store)
    run = create(store)
    with store.own(run.run_id) as lock:
        waiter = Waiter(store, lock, QUEUEING, run, clock, ())
        assert waiter.look() is LifeCycle.QUEUED
        clock.advance(QUEUE_MS + 1)
        assert waiter.look() is LifeCycle.SKIPPED
    found = store.run(run.run_id)
    assert (found.result, found.attempts) == (Result.MAXIMUM_CONCURRENT_RUNS_REACHED, ())
    assert isinstance(store.events(run.run_id)[-1], RunEnded)


def test_the_step_of_a_backfill_is_kept_with_its_run(store):
    assert create(store, backfill=START - DAY).backfill == START - DAY
