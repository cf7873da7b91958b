"""The one truth about runs: who owns them, how they stand, what happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

from wfengine import home as folders
from wfengine.clock import Clock
from wfengine.errors import FencedError, UsageError
from wfengine.events import AnyEvent
from wfengine.jobs import Job
from wfengine.runs import JobRow, JobRun, Tick
from wfengine.states import LifeCycle, Trigger
from wfengine.store import asked, backup, file, newrun, reopening, rows, ticks
from wfengine.store.asked import Request
from wfengine.store.database import Database, Row
from wfengine.store.figures import Figures
from wfengine.store.inspection import Inspection
from wfengine.store.newrun import Executor, NewRun, Parameters
from wfengine.store.outbox import Outbox
from wfengine.store.pruning import Pruning
from wfengine.store.reopening import Reopening
from wfengine.store.ticks import Lead, LedgerTx, Queue, Timing
from wfengine.store.transaction import Tx

#: Seconds a write waits for another process's write before it gives up with a sentence.
BUSY_SECONDS = 30.0


class RunLock:
    """The right to execute a run: held by one live process, and fenced by an epoch should it be taken over."""

    def __init__(self, run_id: int, epoch: int, lock: folders.FileLock) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self._lock = lock

    def release(self) -> None:
        """Let another process own the run; a second call does nothing."""
        self._lock.release()

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Store:
    """The state of one home. Readers never wait for the writer; each thread uses a Store of its own."""

    def __init__(self, home: Path, clock: Clock, database: Database, wait: float) -> None:
        self.home = home
        self.outbox = Outbox(database)
        self.figures = Figures(database)
        self._clock = clock
        self._database = database
        self._wait = wait

    @classmethod
    def open(
        cls, home: Path, clock: Clock, *, create: bool = True, wait: float = BUSY_SECONDS, alone: bool = False
    ) -> Store:
        """Open the state in the folder ``home``.

        With ``create`` a missing home is made; without it nothing is written. ``wait`` is the number of seconds a
        write waits for another process. A home that this process has ``alone`` and throws away is fast: it has no
        owners and no events, and survives no crash. Raises StateError in one sentence when the home cannot be used;
        its bytes are untouched then.
        """
        path = home / "state.db"
        if not create:
            file.expect_file(path)
        folders.refuse_network(home)
        if create:
            folders.private_folder(home)
            file.make_file(path)
        file.check_writable(path)
        return cls(home, clock, Database(path, wait=wait, alone=alone), wait)

    def another(self, *, durable: bool = True) -> Store:
        """Return a Store of the same home with its own connection, for another thread.

        With ``durable`` false its last commits may be lost in a power cut; for marks that may be repeated.
        """
        database = Database(self._database.path, wait=self._wait, durable=durable)
        return Store(self.home, self._clock, database, self._wait)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def still_there(self) -> bool:
        """Whether the state file on disk is the one that is open; False once it was deleted or replaced."""
        return self._database.still_there()

    def create_run(
        self,
        job: Job,
        *,
        parameters: Parameters,
        trigger: Trigger,
        trigger_time: int,
        by: Executor = "here",
        idempotency_token: str | None = None,
        allowed: Sequence[str] = (),
        backfill: int | None = None,
        parent: tuple[int, int] | None = None,
        subscribers: Sequence[str] = (),
    ) -> tuple[JobRun, bool]:
        """Store a new run with its first attempts and a snapshot of the job, in one transaction.

        ``parameters`` is given the ids of the job and of the run, which defaults may refer to.
        Tasks without upstreams are PENDING, the others BLOCKED. The run obeys the job's limits: it is PENDING, QUEUED
        or SKIPPED. The second value is False when the token was used before and the run of that time is returned.
        ``backfill`` is the step of a backfill in epoch milliseconds, ``parent`` the run and the attempt whose run_job
        task asks for this one. Raises UsageError for a token of another job or
        over 64 characters.
        """
        token = idempotency_token
        if token is not None and len(token) > 64:
            raise UsageError(f"the idempotency token has {len(token)} characters; at most 64 are allowed")
        new = NewRun(
            job=job,
            parameters=parameters,
            trigger=trigger,
            trigger_time=trigger_time,
            by=by,
            idempotency_token=token,
            allowed=allowed,
            backfill=backfill,
            parent=parent,
        )
        database = self._database
        with database.writing():
            run_id = self._run_of_token(token, job.name) if token is not None else None
            created = run_id is None
            if run_id is None:
                job_id = newrun.job_id_of(database, job.name)
                place = newrun.place(database, job, job_id)
                run_id = newrun.add_run(database, new, job_id, place, self._clock.now_ms(), subscribers)
        return self.run(run_id), created

    def reopen(self, run_id: int, wanted: Reopening, subscribers: Sequence[str] = ()) -> JobRun:
        """Open an ended run again so that some of its tasks are executed once more; the one way out of an end.

        Its former end, job and parameters stay with it as a repair. Raises UsageError, with nothing written, when it
        has not ended, was repaired since this was planned, or its job is at its limit.
        """
        with self._database.writing():
            reopening.reopen(self._database, run_id, wanted, self._clock.now_ms(), subscribers)
        return self.run(run_id)

    def claim_place(self, run_id: int, limit: int) -> LifeCycle:
        """Give a run that waits for a place in this process its place, if there is one and it is first in the queue.

        ``limit`` is the number of runs of the job that may hold a place. Returns the state of the run.
        """
        row = self._database.row("run", run_id=run_id)
        if row is None:
            raise self._unknown(run_id)
        if row["state"] != LifeCycle.QUEUED.value or self.active(row["job_id"]) >= limit:
            return LifeCycle(row["state"])
        with self._database.writing():
            first = self._database.row("first_in_queue", job_id=row["job_id"])
            if first and first["run_id"] == run_id and self.active(row["job_id"]) < limit:
                self._database.change("promote_run", run_id=run_id)
        return self.run(run_id).state

    def executor(self, run_id: int) -> Executor:
        """Say who executes a run, or did."""
        row = self._database.row("executor", run_id=run_id)
        if row is None:
            raise self._unknown(run_id)
        found: Executor = row["executor"]
        return found

    def snapshot(self, run_id: int) -> tuple[Job, tuple[str, ...]]:
        """Return the job as it was when the run was created, and the further folders allowed to it."""
        row = self._database.row("snapshot", run_id=run_id)
        if row is None:
            raise self._unknown(run_id)
        return rows.decode_snapshot(row)

    def run(self, run_id: int) -> JobRun:
        """Return a run with all its attempts; UsageError when there is none."""
        with self._database.reading():
            row = self._database.row("run", run_id=run_id)
            if row is None:
                raise self._unknown(run_id)
            return self._to_run(row, self._database.rows("iterations", run_id=run_id))

    def child(self, task_run_id: int) -> int | None:
        """Return the run that an attempt of a run_job task started; None when it started none."""
        row = self._database.row("child_run", task_run_id=task_run_id)
        return row["run_id"] if row else None

    def lineage(self, run_id: int) -> list[str]:
        """Return the names of the jobs from the run at the top, which no other started, down to this run's."""
        return [row["name"] for row in self._database.rows("lineage", run_id=run_id)]

    def job_name(self, job_id: int) -> str | None:
        """Return the name of the job with this id; None when there is none."""
        row = self._database.row("job_by_id", job_id=job_id)
        return row["name"] if row else None

    def runs(self, *, limit: int = 20, job: str | None = None) -> list[JobRun]:
        """Return the newest runs with their attempts, newest first; of one job when its name is given.

        What their for_eachs iterated over is not among it.
        """
        with self._database.reading():
            if job is None:
                found = self._database.rows("newest_runs", limit=limit)
            else:
                found = self._database.rows("newest_runs_of_job", limit=limit, job=job)
            return [self._to_run(row) for row in found]

    def _to_run(self, row: Row, iterations: list[Row] | None = None) -> JobRun:
        repairs = self._database.rows("repairs", run_id=row["run_id"]) if row["repair_count"] else []
        return rows.to_run(row, self._database.rows("attempts", run_id=row["run_id"]), repairs, iterations or [])

    def unfinished(self, by: Executor | None = None) -> list[int]:
        """Return the ids of the runs that have not ended, oldest first; only those executed ``by`` it when given."""
        if by is None:
            return [row["run_id"] for row in self._database.rows("unfinished")]
        return [row["run_id"] for row in self._database.rows("unfinished_of", executor=by)]

    def waiting(self, limit: int) -> list[int]:
        """Return at most ``limit`` runs that the daemon may start now.

        In turns between jobs, the job with the fewest runs going first; oldest first within a job. A run that was
        taken with ``own`` and has not been stored as RUNNING yet is still among them.
        """
        return [row["run_id"] for row in self._database.rows("waiting", limit=limit)]

    def events(self, run_id: int) -> list[AnyEvent]:
        """Return everything that happened in a run, in order."""
        return [rows.decode_event(row["event"]) for row in self._database.rows("events", run_id=run_id)]

    def own(self, run_id: int) -> RunLock | None:
        """Take the run over for this process, fencing any former owner; None when a live process holds it."""
        if self._database.alone:
            return RunLock(run_id, 0, folders.FileLock(-1))
        if self._database.row("run_state", run_id=run_id) is None:
            raise self._unknown(run_id)
        lock = self._lock(run_id)
        if lock is None:
            return None
        try:
            with self._database.writing():
                self._database.change("raise_epoch", run_id=run_id)
                return RunLock(run_id, self._epoch(run_id), lock)
        except BaseException:
            lock.release()
            raise

    def _lock(self, run_id: int) -> folders.FileLock | None:
        folder = folders.private_folder(folders.run_folder(self.home, run_id))
        try:
            return folders.FileLock.take(folder / "owner.lock")
        except OSError as error:
            message = f"cannot lock run {run_id} in {folder}: {error.strerror or error}"
            raise folders.state_error(message, error) from error

    def grouped(self) -> AbstractContextManager[None]:
        """Commit all that is written in the block as one; a part of it that raises is undone alone."""
        return self._database.writing()

    @contextmanager
    def transaction(self, lock: RunLock, subscribers: Sequence[str] = ()) -> Iterator[Tx]:
        """Change the run of ``lock``; all changes of the block are committed as one, or none when it raises.

        Raises FencedError when another process has taken the run over, DiskFullError when there is no space.
        """
        with self._database.writing():
            # The write lock is held, so nobody can take the run over between this look and the commit.
            if self._epoch(lock.run_id) != lock.epoch:
                raise FencedError(
                    f"run {lock.run_id} was taken over by another process; nothing more is written from here"
                )
            yield Tx(self._database, lock.run_id, subscribers)

    # -- looking after the file ---------------------------------------------------------------------------------

    @contextmanager
    def inspecting(self) -> Iterator[Inspection]:
        """Look at everything as it is at one moment; nobody waits for it."""
        with self._database.reading():
            yield Inspection(self._database)

    def pruning(self, before: int) -> Pruning:
        """Return what removes all that ended before a time, in epoch milliseconds."""
        return Pruning(self._database, before)

    def shrink(self) -> None:
        """Give the space of removed rows back to the disk; writers wait meanwhile."""
        self._database.shrink()

    def back_up(self, path: Path) -> backup.Manifest:
        """Copy one moment of the state to a new file, with a manifest beside it; see ``backup.make``."""
        return backup.make(self._database, path, self._clock)

    # -- schedules ----------------------------------------------------------------------------------------------

    def lead(self, name: str) -> Lead:
        """Become the leader in ``name``; whoever was it before can write nothing as such any more."""
        with self._database.writing():
            self._database.change("take_lead", name=name)
            return Lead(name, self._lead_epoch(name))

    @contextmanager
    def leading(self, lead: Lead, subscribers: Sequence[str] = ()) -> Iterator[LedgerTx]:
        """Write to the ledger of ticks as its leader; all of the block is committed as one, or none when it raises.

        Raises FencedError when another process leads now.
        """
        with self._database.writing():
            if self._lead_epoch(lead.name) != lead.epoch:
                raise FencedError(f"another {lead.name} has taken over {self.home}; nothing more is written from here")
            yield LedgerTx(self._database, self._clock.now_ms(), subscribers)

    def timings(self) -> list[Timing]:
        """Return the loaded jobs as the ledger knows them, by name."""
        return [ticks.to_timing(row) for row in self._database.rows("timings")]

    def queues(self) -> list[Queue]:
        """Return the jobs that have runs waiting for a place, the longest waiting first."""
        return ticks.queues(self._database)

    def active(self, job_id: int) -> int:
        """Count the runs of a job that hold a place among its concurrent runs."""
        row = self._database.row("job_load", job_id=job_id)
        return row["active"] if row else 0

    def ticks(self, job: str | None = None, *, limit: int = 50) -> list[Tick]:
        """Return the newest rows of the ledger, newest first; UsageError for a job that is not known."""
        if job is None:
            return [ticks.to_tick(row) for row in self._database.rows("ticks", limit=limit)]
        job_id = asked.known_job(self._database, job)
        return [ticks.to_tick(row) for row in self._database.rows("ticks_of_job", job_id=job_id, limit=limit)]

    def jobs(self) -> list[JobRow]:
        """Return the jobs that the daemon has loaded, by name."""
        return asked.job_rows(self._database)

    def pause(self, job: str) -> None:
        """Let no tick of the job count until ``resume``; UsageError when it is not known."""
        with self._database.writing():
            self._database.change("pause", job_id=asked.known_job(self._database, job))

    def resume(self, job: str) -> None:
        """Let the ticks of the job count again from now on; UsageError when it is not known."""
        with self._database.writing():
            job_id = asked.known_job(self._database, job)
            # Resuming what was not paused forgets no tick.
            if self._database.change("resume", job_id=job_id):
                self._database.change("count_from", job_id=job_id, now=self._clock.now_ms())

    def request(self, kind: str, run_id: int | None = None, task_key: str | None = None) -> None:
        """Ask something of the daemon, or of whoever executes the run."""
        if run_id is not None and self._database.row("run_state", run_id=run_id) is None:
            raise self._unknown(run_id)
        with self._database.writing():
            now = self._clock.now_ms()
            self._database.change("add_request", kind=kind, run_id=run_id, task_key=task_key, now=now)

    def take_requests(self, run_id: int | None = None) -> list[Request]:
        """Return what was asked of one run, or of the daemon, since the last call, oldest first, each once.

        Costs no write when there is nothing.
        """
        waiting = self._database.row("requests") if run_id is None else self._database.row("requests_of", run_id=run_id)
        if waiting is None:
            return []
        with self._database.writing():
            return asked.take_requests(self._database, run_id)

    def _lead_epoch(self, name: str) -> int:
        row = self._database.row("lead", name=name)
        return row["epoch"] if row else 0

    def _epoch(self, run_id: int) -> int:
        row = self._database.row("epoch", run_id=run_id)
        return row["epoch"] if row else -1

    def _unknown(self, run_id: int) -> UsageError:
        known = ", ".join(str(row["run_id"]) for row in self._database.rows("newest_ids", limit=5))
        return UsageError(
            f"there is no run {run_id} in {self.home}; " + (f"the newest are {known}" if known else "it has none yet")
        )

    def _run_of_token(self, token: str, job_name: str) -> int | None:
        row = self._database.row("run_of_token", token=token)
        if row is None:
            return None
        if row["name"] != job_name:
            raise UsageError(
                f"the idempotency token was used by run {row['run_id']} of job {row['name']!r}: give another"
            )
        return int(row["run_id"])
