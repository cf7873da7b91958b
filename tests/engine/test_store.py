"""The store: legal transitions only, committed together, owned by one process (docs/semantics.md, sections 2 and 3)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wfengine.errors import FencedError, StateError, UsageError
from wfengine.events import AnyEvent, RunEnded, RunQueued, TaskEnded
from wfengine.home import attempt_folder
from wfengine.jobs import Dependency, Job, Task
from wfengine.runs import ErrorInfo, Facts, JobRun, TableFact
from wfengine.states import LEGAL, LifeCycle, Result, Trigger
from wfengine.store import RUN_LOG, RunLock, Store

NOW = 1_800_000_000_000


class FixedClock:
    def now_ms(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def a_job(name: str = "daily", tasks: int = 2) -> Job:
    first = Task(task_key="t0", kind="shell", config={"command": ["true"]})
    rest = [Task(task_key=f"t{n}", kind="shell", depends_on=(Dependency("t0"),)) for n in range(1, tasks)]
    return Job(name=name, tasks=(first, *rest), max_concurrent_runs=1000)


def create(store: Store, job: Job | None = None, **changes: object) -> JobRun:
    given = {"parameters": lambda *ids: {"day": "1"}, "trigger": Trigger.ONE_TIME, "trigger_time": NOW} | changes
    run, _ = store.create_run(job or a_job(), **given)  # type: ignore[arg-type]
    return run


def own(store: Store, run_id: int) -> RunLock:
    lock = store.own(run_id)
    assert lock is not None
    return lock


def start(store: Store, lock: RunLock, *task_run_ids: int, event: AnyEvent | None = None) -> None:
    with store.transaction(lock, ("mail",)) as tx:
        if event is not None:
            tx.event(event)
        for task_run_id in task_run_ids:
            tx.attempt(task_run_id, LifeCycle.PENDING, state=LifeCycle.RUNNING)


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "home", FixedClock()) as store:
        yield store


def test_a_new_run_has_one_attempt_for_each_task_in_file_order(store: Store) -> None:
    """docs/semantics.md, section 2: a task without upstreams is free to start, the others wait."""
    run = create(store, a_job(tasks=3))
    assert [(attempt.task_key, attempt.state) for attempt in run.attempts] == [
        ("t0", LifeCycle.PENDING),
        ("t1", LifeCycle.BLOCKED),
        ("t2", LifeCycle.BLOCKED),
    ]
    assert (run.state, run.number_in_job, run.trigger_time, run.parameters) == (LifeCycle.PENDING, 1, NOW, {"day": "1"})
    assert store.events(run.run_id) == [
        RunQueued(time=NOW, run_id=run.run_id, job_id=run.job_id, job_name="daily", trigger=Trigger.ONE_TIME)
    ]


def test_runs_and_attempts_share_one_space_of_ids(store: Store) -> None:
    """docs/semantics.md, section 11: the API calls both of them run_id."""
    ids: list[int] = []
    for _ in range(3):
        run = create(store)
        ids += [run.run_id, *(attempt.run_id for attempt in run.attempts)]
        with own(store, run.run_id) as lock, store.transaction(lock) as tx:
            ids.append(tx.add_attempt("t1", 1, LifeCycle.WAITING_FOR_RETRY, NOW))
    assert len(set(ids)) == len(ids) == 12


def test_runs_are_counted_for_each_job_by_its_name(store: Store) -> None:
    runs = [create(store, a_job(name)) for name in ("a", "b", "a", "a")]
    assert [(run.job_name, run.number_in_job) for run in runs] == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    assert runs[0].job_id == runs[2].job_id != runs[1].job_id
    assert [run.run_id for run in store.runs(job="a")] == [run.run_id for run in (runs[3], runs[2], runs[0])]


def test_runs_of_an_unchanged_job_share_one_snapshot(store: Store) -> None:
    """docs/reliability.md, C1: the run keeps the job as it was at its start."""
    runs = [create(store, allowed=("/data",)) for _ in range(5)] + [create(store, a_job(tasks=4))]
    assert [store.snapshot(run.run_id) for run in runs] == [(a_job(), ("/data",))] * 5 + [(a_job(tasks=4), ())]
    assert len(store._database.rows("snapshot", run_id=runs[0].run_id)) == 1
    assert store._database._connection.execute("SELECT count(*) FROM snapshots").fetchone()[0] == 2


def test_the_same_token_gives_back_the_same_run(store: Store) -> None:
    """docs/semantics.md, section 8."""
    first, created = store.create_run(
        a_job(), parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=NOW, idempotency_token="x"
    )
    again, created_again = store.create_run(
        a_job(tasks=5), parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=NOW, idempotency_token="x"
    )
    assert (created, created_again) == (True, False)
    assert again == first
    assert len(store.runs()) == 1
    with pytest.raises(UsageError, match=f"used by run {first.run_id} of job 'daily'"):
        create(store, a_job("other"), idempotency_token="x")
    with pytest.raises(UsageError, match="65 characters; at most 64"):
        create(store, idempotency_token="y" * 65)


def test_everything_an_attempt_reports_is_read_back(store: Store) -> None:
    run = create(store)
    attempt = run.attempts[0]
    facts = Facts(rows_read=10, tables=(TableFact(table="a.b", role="output", version_before=-1, version_after=0),))
    error = ErrorInfo(message="bad é\x1b[0m", traceback="Traceback ...\n", where="a.py:3")
    with own(store, run.run_id) as lock:
        with store.transaction(lock) as tx:
            tx.attempt(attempt.run_id, LifeCycle.PENDING, state=LifeCycle.RUNNING, start_time=1, resolved={"a": [1]})
            tx.attempt(attempt.run_id, LifeCycle.RUNNING, pid=77)
        assert store.run(run.run_id).attempts[0].pid == 77
        with store.transaction(lock) as tx:
            tx.attempt(
                attempt.run_id,
                LifeCycle.RUNNING,
                state=LifeCycle.TERMINATED,
                result=Result.FAILED,
                message="no",
                end_time=2,
                outcome="true",
                error=error,
                facts=facts,
                output=[1, {"b": None}],
                values={"k": 1.5},
            )
    ended = store.run(run.run_id).attempts[0]
    assert (ended.state, ended.result, ended.message) == (LifeCycle.TERMINATED, Result.FAILED, "no")
    assert (ended.start_time, ended.end_time, ended.pid, ended.outcome) == (1, 2, None, "true")
    assert (ended.error, ended.facts, ended.resolved) == (error, facts, {"a": [1]})
    assert (ended.output, ended.values) == ([1, {"b": None}], {"k": 1.5})


def test_an_illegal_transition_is_refused_with_both_states(store: Store) -> None:
    run = create(store)
    with own(store, run.run_id) as lock:
        with pytest.raises(StateError, match="cannot go from PENDING to TERMINATING"), store.transaction(lock) as tx:
            tx.attempt(run.attempts[0].run_id, LifeCycle.PENDING, state=LifeCycle.TERMINATING)
        with pytest.raises(StateError, match="run 1 cannot go from PENDING to QUEUED"), store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.QUEUED)
    assert store.run(run.run_id) == run


def test_a_change_that_expects_another_state_undoes_the_whole_transaction(store: Store) -> None:
    run = create(store)
    first, second = (attempt.run_id for attempt in run.attempts)
    with own(store, run.run_id) as lock:
        message = f"attempt {second} of run 1 is BLOCKED, not PENDING as expected"
        with pytest.raises(StateError, match=message):
            start(store, lock, first, second)
        with pytest.raises(StateError, match="there is no attempt 99 of run 1"), store.transaction(lock) as tx:
            tx.attempt(99, LifeCycle.PENDING, state=LifeCycle.RUNNING)
    assert store.run(run.run_id) == run


def test_a_terminal_state_is_written_once(store: Store) -> None:
    """docs/reliability.md, T13."""
    run = create(store)
    with own(store, run.run_id) as lock:
        with store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.TERMINATED, result=Result.CANCELED)
        with pytest.raises(StateError, match="is TERMINATED, not PENDING"), store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.TERMINATED, result=Result.SUCCESS)
        with pytest.raises(StateError, match="cannot go from TERMINATED"), store.transaction(lock) as tx:
            tx.run(LifeCycle.TERMINATED, state=LifeCycle.TERMINATED, result=Result.SUCCESS)
    assert store.run(run.run_id).result is Result.CANCELED


def test_attempts_of_a_task_follow_one_another(store: Store) -> None:
    """docs/reliability.md, T14: no attempt number is given twice or skipped."""
    run = create(store)
    with own(store, run.run_id) as lock:
        with store.transaction(lock) as tx:
            tx.add_attempt("t0", 1, LifeCycle.WAITING_FOR_RETRY, NOW + 5)
        for number in (0, 1, 3):
            with pytest.raises(StateError, match=f"no attempt {number} of task 't0'"), store.transaction(lock) as tx:
                tx.add_attempt("t0", number, LifeCycle.PENDING)
    found = [(attempt.task_key, attempt.attempt_number, attempt.not_before) for attempt in store.run(1).attempts]
    assert found == [("t0", 0, None), ("t0", 1, NOW + 5), ("t1", 0, None)]
    assert store.run(1).latest()["t0"].attempt_number == 1


def test_all_changes_of_a_block_appear_at_once_to_readers_that_never_wait(store: Store) -> None:
    """docs/reliability.md, D5: the reader has no patience at all and still reads while the writer writes."""
    run = create(store, a_job(tasks=101))
    with own(store, run.run_id) as lock, Store.open(store.home, FixedClock(), create=False, wait=0) as reader:
        with store.transaction(lock) as tx:
            for attempt in run.attempts[1:]:
                tx.attempt(attempt.run_id, LifeCycle.BLOCKED, state=LifeCycle.RUNNING)
            assert reader.run(run.run_id) == run
            assert store.run(run.run_id).attempts[1].state is LifeCycle.RUNNING
        assert [attempt.state for attempt in reader.run(run.run_id).attempts[1:]] == [LifeCycle.RUNNING] * 100


def test_a_run_has_one_owner_and_a_former_owner_can_write_nothing(tmp_path: Path) -> None:
    """docs/reliability.md, D10: the epoch fences a process that slept while another took over."""
    with Store.open(tmp_path, FixedClock()) as sleeper, Store.open(tmp_path, FixedClock()) as other:
        run = create(sleeper)
        old = own(sleeper, run.run_id)
        assert other.own(run.run_id) is None
        old.release()
        new = own(other, run.run_id)
        with pytest.raises(FencedError, match=f"run {run.run_id} was taken over"), sleeper.transaction(old) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING)
        with other.transaction(new) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING)
        assert sleeper.run(run.run_id).state is LifeCycle.RUNNING
        assert not os.get_inheritable(new._lock._descriptor)


def test_runs_that_have_not_ended_are_listed_for_recovery(store: Store) -> None:
    runs = [create(store) for _ in range(3)]
    with own(store, runs[1].run_id) as lock, store.transaction(lock) as tx:
        tx.run(LifeCycle.PENDING, state=LifeCycle.TERMINATED, result=Result.SUCCESS)
    assert store.unfinished() == [runs[0].run_id, runs[2].run_id]


def test_an_unknown_run_is_answered_with_the_known_ones(store: Store) -> None:
    with pytest.raises(UsageError, match=r"no run 7 in .*; it has none yet"):
        store.run(7)
    create(store)
    create(store)
    for ask in (store.run, store.snapshot, store.own):
        with pytest.raises(UsageError, match=r"there is no run 77 in .*; the newest are 4, 1"):
            ask(77)


def test_events_and_their_deliveries_are_stored_with_the_change_they_tell(store: Store) -> None:
    run = create(store, subscribers=("mail",))
    about = {"time": NOW, "run_id": run.run_id, "job_id": run.job_id, "job_name": run.job_name}
    ended = RunEnded(**about, result=Result.FAILED, failed_tasks=("t0",))
    task = TaskEnded(**about, task_key="t0", task_run_id=2, attempt_number=0, result=Result.FAILED)
    with own(store, run.run_id) as lock:
        with store.transaction(lock, ("mail",)) as tx:
            tx.event(task)
            tx.event(ended)
        with pytest.raises(StateError):
            start(store, lock, 99, event=ended)
    assert store.events(run.run_id)[1:] == [task, ended]
    for subscriber in (RUN_LOG, "mail"):
        pending = store.outbox.pending(subscriber, run.run_id, 10)
        assert [(one.number, one.tries) for one in pending] == [(1, 0), (2, 0), (3, 0)]
        assert [one.event for one in pending] == store.events(run.run_id)
    assert len({one.delivery_id for name in (RUN_LOG, "mail") for one in store.outbox.pending(name, 1, 10)}) == 6


def test_a_small_task_run_takes_at_most_two_kibibytes(tmp_path: Path) -> None:
    with Store.open(tmp_path, FixedClock()) as store:
        for _ in range(10):
            run = create(store, a_job(tasks=100), subscribers=("mail",))
            about = {"time": NOW, "run_id": run.run_id, "job_id": run.job_id, "job_name": run.job_name}
            with own(store, run.run_id) as lock, store.transaction(lock, ("mail",)) as tx:
                for attempt in run.attempts:
                    tx.attempt(
                        attempt.run_id,
                        attempt.state,
                        state=LifeCycle.TERMINATED,
                        result=Result.SUCCESS,
                        start_time=NOW,
                        end_time=NOW,
                        facts=Facts(rows_read=1000, rows_written=990, rows_rejected=10),
                        resolved={"source": "data/orders/*.csv", "table": "bronze.orders"},
                    )
                    tx.event(
                        TaskEnded(
                            **about,
                            task_key=attempt.task_key,
                            task_run_id=attempt.run_id,
                            attempt_number=0,
                            result=Result.SUCCESS,
                        )
                    )
    assert (tmp_path / "state.db").stat().st_size / 1000 <= 2048


@pytest.mark.parametrize("umask", [0o000, 0o777], ids=["open", "closed"])
def test_files_are_for_their_user_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """docs/reliability.md, W13."""
    home = tmp_path / "deep" / "home"
    former = os.umask(umask)
    try:
        with Store.open(home, FixedClock()) as store, own(store, create(store).run_id):
            modes = {path.relative_to(tmp_path): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    finally:
        os.umask(former)
    files = {str(path) for path, mode in modes.items() if mode == 0o600}
    folders = {str(path) for path, mode in modes.items() if mode == 0o700}
    assert files == {f"deep/home/{name}" for name in ("state.db", "state.db-wal", "state.db-shm", "runs/1/owner.lock")}
    assert folders == {"deep", "deep/home", "deep/home/runs", "deep/home/runs/1"}


def test_commits_are_synced_to_the_disk_except_marks_that_may_be_repeated(store: Store) -> None:
    """docs/reliability.md, D2: FULL is 2, NORMAL is 1."""
    second = store.another(durable=False)
    found = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for connection in (store._database._connection, second._database._connection)
        for name in ("journal_mode", "synchronous")
    ]
    second.close()
    assert found == ["wal", 2, "wal", 1]


def test_opening_an_existing_home_to_read_writes_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path, FixedClock()) as store:
        create(store)
    before = (tmp_path / "state.db").read_bytes(), (tmp_path / "state.db").stat().st_mtime_ns
    with Store.open(tmp_path, FixedClock(), create=False) as reader:
        assert len(reader.runs()) == 1
        assert not (tmp_path / "state.db-wal").stat().st_size
    assert ((tmp_path / "state.db").read_bytes(), (tmp_path / "state.db").stat().st_mtime_ns) == before


def test_a_state_file_deleted_or_replaced_under_the_engine_is_noticed(store: Store) -> None:
    """docs/reliability.md, D8: SQLite itself would go on writing into nowhere."""
    assert store.still_there()
    path = store.home / "state.db"
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    path.unlink()
    assert not store.still_there()
    copy.rename(path)
    assert not store.still_there()


def test_folders_of_attempts_follow_the_run_and_the_task() -> None:
    assert attempt_folder(Path("/h"), 4, "load", 2) == Path("/h/runs/4/tasks/load/2")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(st.tuples(st.sampled_from(list(LifeCycle)), st.sampled_from(list(LifeCycle))), max_size=12))
def test_whatever_is_asked_only_legal_transitions_happen(
    store: Store, wishes: list[tuple[LifeCycle, LifeCycle]]
) -> None:
    """A model of one attempt beside the real one: they never differ, and nothing follows an end."""
    run = create(store, a_job(tasks=1))
    model = LifeCycle.PENDING
    with own(store, run.run_id) as lock:
        for expect, wanted in wishes:
            legal = expect is model and wanted in LEGAL[model]
            try:
                with store.transaction(lock) as tx:
                    tx.attempt(run.attempts[0].run_id, expect, state=wanted)
            except StateError:
                assert not legal
            else:
                assert legal
                model = wanted
    assert store.run(run.run_id).attempts[0].state is model


WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from wfengine.clock import SystemClock
    from wfengine.jobs import Job, Task
    from wfengine.states import LifeCycle, Trigger
    from wfengine.store import Store

    store = Store.open(Path(sys.argv[1]), SystemClock())
    job = Job(name="j", tasks=tuple(Task(task_key=f"t{n}", kind="x") for n in range(50)), max_concurrent_runs=10**6)
    while True:
        run, _ = store.create_run(job, parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=0, subscribers=("s",))
        lock = store.own(run.run_id)
        for attempt in run.attempts:
            with store.transaction(lock) as tx:
                tx.attempt(attempt.run_id, LifeCycle.PENDING, state=LifeCycle.RUNNING)
            print(run.run_id, attempt.run_id, flush=True)
    """
)


@pytest.mark.faults
def test_a_killed_writer_loses_no_acknowledged_transition(tmp_path: Path) -> None:
    """docs/reliability.md, D1: 20 kills at moments drawn from a seed; all that was acknowledged is there, nothing is torn."""
    chance = random.Random(1)
    acknowledged: list[tuple[int, int]] = []
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 120)):
                run_id, task_run_id = writer.stdout.readline().split()
                acknowledged.append((int(run_id), int(task_run_id)))
            writer.send_signal(signal.SIGKILL)
        with Store.open(tmp_path, FixedClock()) as store:
            assert store._database._connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            started = {
                (run.run_id, attempt.run_id)
                for run in store.runs(limit=1000)
                for attempt in run.attempts
                if attempt.state is LifeCycle.RUNNING
            }
            assert started.issuperset(acknowledged)
            assert {len(run.attempts) for run in store.runs(limit=1000)} == {50}
            assert store.own(acknowledged[-1][0]) is not None
    assert len(acknowledged) > 500
