"""Which tasks a repair runs again, and how an ended run is opened (docs/semantics.md, section 8)."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from databricks.sdk.service.jobs import RepairHistoryItemType, Run
from hypothesis import given
from hypothesis import strategies as st
from ticking import START, SetClock

from wfengine import fingerprint, jobsapi, recovery
from wfengine.errors import FencedError, StateError, UsageError
from wfengine.events import RunRepaired
from wfengine.graph import behind, build, narrow
from wfengine.jobs import Dependency, Job, Task
from wfengine.layer import Layer
from wfengine.repair import Asked, Now, RepairPlan, plan
from wfengine.runs import Attempt, Facts, Fingerprint, TableFact
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store import Reopening, Store

SAME = Fingerprint(code="c", parameters="p")
#: a -> b -> c, and d beside them.
CHAIN = (("a", ()), ("b", ("a",)), ("c", ("b",)), ("d", ()))


def a_job(tasks=CHAIN, **more):
    made = tuple(Task(task_key=k, kind="shell", depends_on=tuple(map(Dependency, up))) for k, up in tasks)
    return Job(name="daily", tasks=made, path="/conf/daily.yml", **more)


def ended(key, result=Result.SUCCESS, **more):
    given = {"fingerprint": SAME, **more}
    return Attempt(run_id=1, task_key=key, state=LifeCycle.TERMINATED, result=result, **given)


def planned(job, latest, asked=None, changed=(), versions=None) -> RepairPlan:
    prints = {task.task_key: SAME for task in job.tasks} | {
        key: Fingerprint(code="new", parameters="p") for key in changed
    }
    now = Now(fingerprints=prints, versions=versions or {})
    return plan(job, build(job.tasks), {attempt.task_key: attempt for attempt in latest}, asked or Asked(), now)


def reasons(found: RepairPlan) -> dict[str, str]:
    return {task.task_key: task.reason for task in found.tasks}


#: b failed and c was skipped behind it.
FAILED = [ended("a"), ended("b", Result.FAILED), ended("c", Result.UPSTREAM_FAILED, message="b failed"), ended("d")]


def test_by_need_what_failed_runs_and_what_was_skipped_behind_it():
    found = planned(a_job(), FAILED)
    assert found.task_keys == ("b", "c")
    assert reasons(found) == {
        "a": "succeeded, and nothing has changed since",
        "b": "failed",
        "c": "did not run: b failed",
        "d": "succeeded, and nothing has changed since",
    }


def test_a_task_whose_code_changed_pulls_in_what_depends_on_it_and_nothing_else():
    found = planned(a_job(), [ended(key) for key in "abcd"], changed=["b"])
    assert found.task_keys == ("b", "c")
    assert reasons(found)["b"] == "its code has changed"
    assert reasons(found)["c"] == "depends on b, which runs"


def test_changed_parameters_are_a_reason():
    latest = [ended("a", fingerprint=Fingerprint(code="c", parameters="other")), *map(ended, "bcd")]
    assert reasons(planned(a_job(), latest))["a"] == "the job parameters have changed"


def test_an_input_table_at_another_version_is_a_reason_and_an_output_is_none():
    def reading(version, role="input"):
        fact = TableFact(table="bronze.events", role=role, path="/w/bronze/events", version_after=version)
        return [ended("d", facts=Facts(tables=(fact,))), *map(ended, "abc")]

    there = {"/w/bronze/events": 7}
    assert (
        reasons(planned(a_job(), reading(5), versions=there))["d"]
        == "its input bronze.events is at version 7, it read 5"
    )
    assert planned(a_job(), reading(7), versions=there).task_keys == ()
    assert planned(a_job(), reading(5, "output"), versions=there).task_keys == ()
    gone = planned(a_job(), reading(5), versions={"/w/bronze/events": -1})
    assert reasons(gone)["d"] == "its input bronze.events is gone"


def test_a_table_that_the_task_itself_wrote_after_reading_it_has_not_changed():
    facts = tuple(
        TableFact(table="gold.sums", role=role, path="/w/gold/sums", version_after=version)
        for role, version in (("input", 5), ("output", 6))
    )
    latest = [ended("d", facts=Facts(tables=facts)), *map(ended, "abc")]
    assert planned(a_job(), latest, versions={"/w/gold/sums": 6}).task_keys == ()
    assert planned(a_job(), latest, versions={"/w/gold/sums": 7}).task_keys == ("d",)


def test_asked_for_what_failed_nothing_else_runs_whatever_changed():
    found = planned(a_job(), FAILED, Asked(failed=True), changed=["d"])
    assert found.task_keys == ("b", "c")
    assert reasons(found)["d"] == "succeeded; its code has changed, but it was not asked for"


def test_tasks_that_are_named_run_alone_or_with_what_depends_on_them():
    assert planned(a_job(), FAILED, Asked(tasks=("d",))).task_keys == ("d",)
    assert planned(a_job(), FAILED, Asked(tasks=("a",), dependents=True)).task_keys == ("a", "b", "c")
    assert planned(a_job(), FAILED, Asked(failed=True, tasks=("d",))).task_keys == ("b", "c", "d")


def test_an_unknown_task_is_refused_with_the_likely_one():
    with pytest.raises(UsageError, match="did you mean 'events'"):
        planned(a_job((("events", ()),)), [ended("events")], Asked(tasks=("event",)))


def test_a_task_that_the_run_does_not_have_runs_always():
    found = planned(a_job((*CHAIN, ("e", ("a",)))), [ended(key) for key in "abcd"], Asked(tasks=("d",)))
    assert found.task_keys == ("d", "e")
    assert reasons(found)["e"] == "is new in the job"


def test_a_task_that_is_no_longer_disabled_runs():
    assert reasons(planned(a_job(), [ended("a", Result.DISABLED), *map(ended, "bcd")]))["a"] == "was disabled"


def test_an_attempt_of_an_older_version_without_fingerprint_stays():
    found = planned(a_job(), [ended("a", fingerprint=None), *map(ended, "bcd")], changed=["a"])
    assert found.task_keys == ()
    assert reasons(found)["a"] == "succeeded; what it was made of is not known"


@given(st.data())
def test_whatever_came_out_the_plan_is_closed_under_dependence(data):
    """By need: all that went wrong or changed runs, all behind it runs, and nothing else does."""
    count = data.draw(st.integers(1, 12))
    ups = [data.draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else set() for n in range(count)]
    job = a_job(tuple((f"t{n}", tuple(f"t{m}" for m in sorted(up))) for n, up in enumerate(ups)))
    graph = build(job.tasks)
    results = data.draw(st.lists(st.sampled_from(list(Result)[:8]), min_size=count, max_size=count))
    changed = data.draw(st.sets(st.sampled_from(graph.order)))
    found = planned(job, [ended(f"t{n}", result) for n, result in enumerate(results)], changed=changed)
    bad = {
        Result.FAILED,
        Result.TIMEDOUT,
        Result.CANCELED,
        Result.UPSTREAM_FAILED,
        Result.UPSTREAM_CANCELED,
        Result.DISABLED,
    }
    own = {f"t{n}" for n, result in enumerate(results) if result in bad} | changed
    assert set(found.task_keys) == own.union(*(behind(graph, key) for key in own))


def test_a_thousand_tasks_are_planned_within_a_fifth_of_a_second():
    """By the time of this process, of which the machine's other work takes nothing; a chain is the worst case."""
    job = a_job(tuple((f"t{n}", (f"t{n - 1}",) if n else ()) for n in range(1000)))
    latest = [ended(f"t{n}") for n in range(1000)]
    begun = time.process_time()
    found = planned(job, latest, changed=["t0"])
    assert time.process_time() - begun < 0.2
    assert len(found.task_keys) == 1000


# -- fingerprints -----------------------------------------------------------------------------------------------------


class Scripts(Layer):
    """A layer that names one file."""

    name = "script"

    def run(self, context):
        raise NotImplementedError

    @classmethod
    def sources(cls, config, folder):
        return [folder / config["file"]]


def test_a_fingerprint_changes_with_config_files_and_parameters_and_with_nothing_else(tmp_path: Path):
    task = Task(task_key="t", kind="script", config={"file": "a.py", "x": 1})
    (tmp_path / "a.py").write_text("one")

    def made(of=task, **parameters):
        return fingerprint.of(of, Scripts, parameters, tmp_path)

    first = made(day="1")
    assert made(day="1") == first
    assert made(Task(task_key="other", kind="script", config={"x": 1, "file": "a.py"}, max_retries=3), day="1") == first
    assert made(day="2").code == first.code
    assert made(day="2").parameters != first.parameters
    assert made(Task(task_key="t", kind="script", config={"file": "a.py", "x": 2}), day="1").code != first.code
    (tmp_path / "a.py").write_text("other")
    assert made(day="1").code != first.code
    (tmp_path / "a.py").unlink()
    assert made(day="1").code != first.code


# -- the store --------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "home", SetClock()) as store:
        yield store


def create(store: Store, job: Job, **more):
    given = {"trigger": Trigger.ONE_TIME, "trigger_time": START, **more}
    return store.create_run(job, parameters=lambda *ids: {"day": "1"}, **given)[0]


def end(store: Store, run_id: int, *results: Result) -> None:
    """Let the tasks that have not ended end with these results, in order."""
    lock = store.own(run_id)
    run = store.run(run_id)
    waiting = [attempt for attempt in run.attempts if not attempt.state.ended]
    with lock, store.transaction(lock) as tx:
        tx.run(run.state, state=LifeCycle.RUNNING, start_time=START)
        for attempt, result in zip(waiting, results, strict=True):
            tx.attempt(attempt.run_id, attempt.state, state=LifeCycle.TERMINATED, result=result)
        bad = Result.FAILED if Result.FAILED in results else Result.SUCCESS
        tx.run(LifeCycle.RUNNING, state=LifeCycle.TERMINATED, result=bad, message="m", end_time=START + 9)


def wanted(job: Job, *keys: str, count: int = 0, **more) -> Reopening:
    return Reopening(job=job, task_keys=keys, parameters={"day": "2"}, repair_count=count, **more)


TWO = a_job((("a", ()), ("b", ("a",))))


def test_an_opened_run_keeps_its_id_its_attempts_and_its_former_end(store: Store):
    run = create(store, TWO, subscribers=("mail",))
    end(store, run.run_id, Result.SUCCESS, Result.FAILED)
    newer = a_job((("a", ()), ("b", ("a",))), description="newer")
    found = store.reopen(run.run_id, wanted(newer, "b"), ("mail",))
    assert (found.run_id, found.state, found.result, found.end_time) == (run.run_id, LifeCycle.PENDING, None, None)
    assert [(a.task_key, a.attempt_number, a.state) for a in found.attempts] == [
        ("a", 0, LifeCycle.TERMINATED),
        ("b", 0, LifeCycle.TERMINATED),
        ("b", 1, LifeCycle.BLOCKED),
    ]
    (repair,) = found.repairs
    assert (repair.state, repair.result, repair.end_time, repair.parameters) == (
        LifeCycle.TERMINATED, Result.FAILED, START + 9, {"day": "1"},
    )  # fmt: skip
    assert (found.repair_count, found.parameters) == (1, {"day": "2"})
    assert store.snapshot(run.run_id)[0].description == "newer"
    assert [a.attempt_number for a in found.attempts if not found.of_former(a)] == [1]
    assert store.events(run.run_id)[-1] == RunRepaired(
        time=START, run_id=run.run_id, job_id=run.job_id, job_name="daily", repair_count=1, task_keys=("b",)
    )


def test_a_run_is_opened_from_its_end_only_and_by_one_at_a_time(store: Store):
    run = create(store, TWO)
    with pytest.raises(UsageError, match="has not ended, it is PENDING"):
        store.reopen(run.run_id, wanted(TWO, "a"))
    end(store, run.run_id, Result.FAILED, Result.UPSTREAM_FAILED)
    store.reopen(run.run_id, wanted(TWO, "a", "b"))
    end(store, run.run_id, Result.FAILED, Result.UPSTREAM_FAILED)
    with pytest.raises(UsageError, match="repaired by somebody else"):
        store.reopen(run.run_id, wanted(TWO, "a", "b"))
    assert store.run(run.run_id).repair_count == 1
    assert store.reopen(run.run_id, wanted(TWO, "a", count=1)).attempts[2].attempt_number == 2


def test_the_owner_of_the_time_before_can_write_nothing_more(store: Store):
    """docs/reliability.md, D3."""
    run = create(store, TWO)
    former = store.own(run.run_id)
    former.release()
    end(store, run.run_id, Result.FAILED, Result.UPSTREAM_FAILED)
    store.reopen(run.run_id, wanted(TWO, "a"))
    with store.own(run.run_id), pytest.raises(FencedError), store.transaction(former) as tx:
        tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING)


def test_a_repair_whose_process_died_before_it_began_is_ended_and_can_be_repaired(store: Store):
    """docs/reliability.md, D1: what had succeeded before stays so."""
    run = create(store, TWO)
    end(store, run.run_id, Result.SUCCESS, Result.FAILED)
    store.reopen(run.run_id, wanted(TWO, "b"))
    assert recovery.recover(store, SetClock(), lambda run_id: "no such marker", ()) == [run.run_id]
    found = store.run(run.run_id)
    assert (found.state, found.result) == (LifeCycle.INTERNAL_ERROR, Result.FAILED)
    assert [(a.task_key, a.result) for a in found.attempts] == [
        ("a", Result.SUCCESS),
        ("b", Result.FAILED),
        ("b", Result.CANCELED),
    ]
    assert planned(TWO, found.latest().values()).task_keys == ("b",)
    assert store.reopen(run.run_id, wanted(TWO, "b", count=1)).attempts[-1].attempt_number == 2


def test_a_repair_obeys_the_limit_of_concurrent_runs(store: Store):
    """docs/semantics.md, section 7."""
    run = create(store, TWO)
    end(store, run.run_id, Result.FAILED, Result.UPSTREAM_FAILED)
    other = create(store, TWO)
    with pytest.raises(UsageError, match="1 of at most 1 runs of this job were active"):
        store.reopen(run.run_id, wanted(TWO, "a"))
    assert store.run(run.run_id).state is LifeCycle.TERMINATED
    queueing = a_job((("a", ()), ("b", ("a",))), queue_enabled=True)
    assert store.reopen(run.run_id, wanted(queueing, "a")).state is LifeCycle.QUEUED
    assert store.claim_place(run.run_id, 1) is LifeCycle.QUEUED
    end(store, other.run_id, Result.SUCCESS, Result.SUCCESS)
    assert store.claim_place(run.run_id, 1) is LifeCycle.PENDING


def test_tasks_follow_the_order_of_the_newer_job_and_those_that_are_gone_stay_listed(store: Store):
    run = create(store, TWO)
    end(store, run.run_id, Result.FAILED, Result.UPSTREAM_FAILED)
    newer = a_job((("n", ()), ("b", ("n",))))
    found = store.reopen(run.run_id, wanted(newer, "n", "b"))
    assert [(a.task_key, a.attempt_number) for a in found.attempts] == [("n", 0), ("b", 0), ("b", 1), ("a", 0)]
    told = jobsapi.run_json(found, newer)
    assert [task["task_key"] for task in told["tasks"]] == ["n", "b", "b", "a"]


def test_what_was_asked_of_the_former_run_is_forgotten(store: Store):
    """A cancel that nobody heard must not meet the repair."""
    run = create(store, TWO)
    store.request("cancel", run.run_id)
    end(store, run.run_id, Result.FAILED, Result.UPSTREAM_FAILED)
    store.reopen(run.run_id, wanted(TWO, "a"))
    assert store.take_requests(run.run_id) == store.take_requests() == []


def test_each_owner_takes_its_own_requests(store: Store):
    many = a_job(max_concurrent_runs=5)
    here, daemons = create(store, many, by="here"), create(store, many, by="daemon")
    store.request("cancel", here.run_id, "a")
    store.request("cancel", daemons.run_id)
    store.request("reload")
    assert [(r.kind, r.run_id) for r in store.take_requests()] == [("cancel", daemons.run_id), ("reload", None)]
    assert [(r.kind, r.task_key) for r in store.take_requests(here.run_id)] == [("cancel", "a")]
    assert store.take_requests(here.run_id) == []


def test_nothing_is_written_when_the_attempts_cannot_be(store: Store):
    run = create(store, TWO)
    end(store, run.run_id, Result.FAILED, Result.UPSTREAM_FAILED)
    before = store.run(run.run_id)
    with contextlib.suppress(RuntimeError), store.grouped():
        store.reopen(run.run_id, wanted(TWO, "a"))
        raise RuntimeError("between opening and owning")
    assert store.run(run.run_id) == before
    with pytest.raises(StateError, match="there is no run 77"):
        store.reopen(77, wanted(TWO, "a"))


def test_the_official_client_reads_the_history(store: Store):
    """docs/semantics.md, section 11."""
    run = create(store, TWO)
    end(store, run.run_id, Result.SUCCESS, Result.FAILED)
    store.reopen(run.run_id, wanted(TWO, "b"))
    end(store, run.run_id, Result.SUCCESS)
    read = Run.from_dict(jobsapi.run_json(store.run(run.run_id), TWO))
    assert [item.type for item in read.repair_history] == [RepairHistoryItemType.ORIGINAL, RepairHistoryItemType.REPAIR]
    assert [item.state.result_state.value for item in read.repair_history] == ["FAILED", "SUCCESS"]
    ids = [task.run_id for task in read.tasks]
    assert [item.task_run_ids for item in read.repair_history] == [ids[:2], ids[2:]]
    assert read.repair_history[0].id is None
    assert read.repair_history[1].id == store.run(run.run_id).repairs[0].repair_id
    assert (read.start_time, read.end_time) == (START, START + 9)


def test_a_narrowed_job_remembers_what_chose_its_tasks():
    job = narrow(a_job(), ["b+"])
    assert ([task.task_key for task in job.tasks], job.only) == (["b", "c"], ("b+",))
    assert narrow(a_job(), []) == a_job()
