"""The one truth about runs: who owns them, how they stand, what happened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from wfengine import home as folders
from wfengine.clock import Clock
from wfengine.errors import FencedError, StateError, UsageError
from wfengine.events import AnyEvent, RunQueued
from wfengine.jobs import Job
from wfengine.runs import JobRun
from wfengine.states import LifeCycle, Trigger
from wfengine.store import rows
from wfengine.store.database import Database
from wfengine.store.outbox import Outbox
from wfengine.store.transaction import Tx, take_ids

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
        self._clock = clock
        self._database = database
        self._wait = wait

    @classmethod
    def open(cls, home: Path, clock: Clock, *, create: bool = True, wait: float = BUSY_SECONDS) -> Store:
        """Open the state in the folder ``home``.

        With ``create`` a missing home is made; without it nothing is written. ``wait`` is the number of seconds a
        write waits for another process. Raises StateError in one sentence when the home cannot be used; its bytes
        are untouched then.
        """
        path = home / "state.db"
        if not create:
            _expect_file(path)
        folders.refuse_network(home)
        if create:
            folders.private_folder(home)
            _make_file(path)
        _check_writable(path)
        return cls(home, clock, Database(path, wait=wait), wait)

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
        parameters: Callable[[int, int], Mapping[str, str]],
        trigger: Trigger,
        trigger_time: int,
        idempotency_token: str | None = None,
        allowed: Sequence[str] = (),
        subscribers: Sequence[str] = (),
    ) -> tuple[JobRun, bool]:
        """Store a new run with its first attempts and a snapshot of the job, in one transaction.

        ``parameters`` is given the ids of the job and of the run, which defaults may refer to.
        Tasks without upstreams are PENDING, the others BLOCKED. The second value is False when the token was used
        before and the run of that time is returned. Raises UsageError for a token of another job or over 64 characters.
        """
        token = idempotency_token
        if token is not None and len(token) > 64:
            raise UsageError(f"the idempotency token has {len(token)} characters; at most 64 are allowed")
        with self._database.writing():
            run_id = self._run_of_token(token, job.name) if token is not None else None
            created = run_id is None
            if run_id is None:
                run_id = take_ids(self._database, 1 + len(job.tasks))
                job_id = self._add_run(run_id, job, parameters, trigger, trigger_time, token, allowed)
                self._add_attempts(run_id, job)
                queued = RunQueued(
                    time=self._clock.now_ms(), run_id=run_id, job_id=job_id, job_name=job.name, trigger=trigger
                )
                Tx(self._database, run_id, subscribers).event(queued)
        return self.run(run_id), created

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
            return rows.to_run(row, self._database.rows("attempts", run_id=run_id))

    def runs(self, *, limit: int = 20, job: str | None = None) -> list[JobRun]:
        """Return the newest runs with their attempts, newest first; of one job when its name is given."""
        with self._database.reading():
            if job is None:
                found = self._database.rows("newest_runs", limit=limit)
            else:
                found = self._database.rows("newest_runs_of_job", limit=limit, job=job)
            return [rows.to_run(row, self._database.rows("attempts", run_id=row["run_id"])) for row in found]

    def unfinished(self) -> list[int]:
        """Return the ids of the runs that have not ended, oldest first."""
        return [row["run_id"] for row in self._database.rows("unfinished")]

    def events(self, run_id: int) -> list[AnyEvent]:
        """Return everything that happened in a run, in order."""
        return [rows.decode_event(row["event"]) for row in self._database.rows("events", run_id=run_id)]

    def own(self, run_id: int) -> RunLock | None:
        """Take the run over for this process, fencing any former owner; None when a live process holds it."""
        if self._database.row("run_state", run_id=run_id) is None:
            raise self._unknown(run_id)
        folder = folders.private_folder(folders.run_folder(self.home, run_id))
        try:
            lock = folders.FileLock.take(folder / "owner.lock")
        except OSError as error:
            raise StateError(f"cannot lock run {run_id} in {folder}: {error.strerror or error}") from error
        if lock is None:
            return None
        try:
            with self._database.writing():
                self._database.change("raise_epoch", run_id=run_id)
                return RunLock(run_id, self._epoch(run_id), lock)
        except BaseException:
            lock.release()
            raise

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

    def _add_run(
        self,
        run_id: int,
        job: Job,
        parameters: Callable[[int, int], Mapping[str, str]],
        trigger: Trigger,
        trigger_time: int,
        token: str | None,
        allowed: Sequence[str],
    ) -> int:
        text = rows.encode(job)
        digest = hashlib.sha256(text.encode()).digest()
        self._database.change("add_snapshot", sha256=digest, job=text)
        self._database.change("add_job", name=job.name)
        self._database.change("count_run", name=job.name)
        counted = self._database.row("job", name=job.name)
        if counted is None:
            raise StateError(f"{self._database.path} is damaged: job {job.name!r} could not be stored")
        self._database.change(
            "add_run",
            run_id=run_id,
            job_id=counted["job_id"],
            number_in_job=counted["runs"],
            snapshot=digest,
            allowed=rows.encode_or_null(tuple(allowed)),
            trigger_type=trigger.value,
            trigger_time=trigger_time,
            parameters=rows.encode_or_null(dict(parameters(counted["job_id"], run_id))),
            idempotency_token=token,
        )
        return int(counted["job_id"])

    def _add_attempts(self, run_id: int, job: Job) -> None:
        self._database.change_many(
            "add_attempt",
            [
                {
                    "task_run_id": run_id + 1 + position,
                    "run_id": run_id,
                    "position": position,
                    "task_key": task.task_key,
                    "attempt_number": 0,
                    "state": (LifeCycle.BLOCKED if task.depends_on else LifeCycle.PENDING).value,
                    "not_before": None,
                }
                for position, task in enumerate(job.tasks)
            ],
        )


def _expect_file(path: Path) -> None:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise StateError(
            f"there is no state in {path.parent}: run a job first, or name another home with --home"
        ) from None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror or error}; name another home with --home") from error


def _make_file(path: Path) -> None:
    """Make an empty state file unless there is one; never beside the folders of runs, whose ids would come again."""
    try:
        if path.exists() and path.stat().st_size:
            return
        # Under the lock, so that no thread has the file open in SQLite when the descriptor is closed here: closing one
        # descriptor of a file drops all locks that the process has on it.
        lock = folders.FileLock.wait(path.parent)
        try:
            if any((path.parent / "runs").glob("*")) and not (path.exists() and path.stat().st_size):
                raise StateError(
                    f"{path} is missing or empty, but {path.parent / 'runs'} holds runs: restore it from a backup, or "
                    "move that folder away to start anew"
                )
            if not path.exists():
                os.close(folders.open_private(path, os.O_RDWR | os.O_EXCL))
                _sync(path.parent)
        finally:
            lock.release()
    except OSError as error:
        raise StateError(f"cannot make {path}: {error.strerror or error}; name another home") from error


def _check_writable(path: Path) -> None:
    """Refuse before SQLite opens the file read-only in silence.

    Opening it here to see would be wrong: closing that descriptor drops the locks of every connection of this process.
    """
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise StateError(f"{place} is read-only: make it writable or name another home with --home")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
