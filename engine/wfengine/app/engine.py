"""The engine as people and programs use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from wfengine import explain, graph, jobfile, values
from wfengine import home as folders
from wfengine.app.active import ActiveRun, Listener, Progress
from wfengine.app.backfilling import Backfilling
from wfengine.app.base import Origin
from wfengine.app.keeping import Keeping
from wfengine.app.operating import Operating, named_folders
from wfengine.app.repairing import Repairing
from wfengine.errors import UsageError, shown
from wfengine.jobs import Job
from wfengine.runs import JobRun, Tick
from wfengine.states import Trigger
from wfengine.store import RunLock


class Engine(Backfilling, Repairing, Operating, Keeping):
    """Runs jobs and tells of runs; several engines in one process do not disturb each other.

    ``home`` is the folder of the state; without it, it is ``.wfengine`` in the project around each job file (or around
    ``project``, by default the current folder). ``plugins`` are further plugin objects beside the installed ones.

    >>> from wfengine import Engine
    >>> Engine().validate("conf/medallion.yml")[0].name  # doctest: +SKIP
    'medallion'
    """

    def explain(
        self,
        path: str | Path,
        results: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        *,
        job: str | None = None,
        target: str | None = None,
    ) -> explain.Explanation:
        """Say what each task of a job file would do, and by which rule, if tasks ended as ``results`` says."""
        return explain.explain(self.validate(path, variables, job=job, target=target)[0], results or {})

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the job file, with the configs of the loaded layers."""
        return jobfile.schema(self.plugins.layers)

    def run_once(
        self,
        path: str | Path,
        parameters: Mapping[str, str] | None = None,
        *,
        only: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        idempotency_token: str | None = None,
        job: str | None = None,
        target: str | None = None,
    ) -> JobRun:
        """Run a job to its end and return the run.

        ``only`` selects tasks (``t``, ``+t`` with its upstreams, ``t+`` with its downstreams). The same
        ``idempotency_token`` gives back the run it was first used for. ``job`` and ``target`` choose in a bundle.
        Raises JobFileError, UsageError, StateError; a failing task raises nothing, the run says so.
        """
        active = self.start(
            path,
            parameters,
            only=only,
            variables=variables,
            idempotency_token=idempotency_token,
            job=job,
            target=target,
        )
        return active.wait()

    def start(
        self,
        path: str | Path,
        parameters: Mapping[str, str] | None = None,
        *,
        only: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        idempotency_token: str | None = None,
        listener: Listener | None = None,
        progress: Progress | None = None,
        job: str | None = None,
        target: str | None = None,
    ) -> ActiveRun:
        """Store a run and return it ready to be executed by ``wait``; ``listener`` is told of each event."""
        chosen, _ = self.validate(path, variables, job=job, target=target)
        given = dict(parameters or {})
        chosen = graph.narrow(chosen, only)
        origin, found = Origin(variables or {}, target), self.settings(path)
        store = self.open_store(found)
        now = self._clock.now_ms()
        lock: RunLock | None = None
        try:
            # Together, so that no other process finds the run without its owner.
            with store.grouped():
                run, created = store.create_run(
                    chosen,
                    parameters=values.parameters_by_ids(
                        chosen, given, Trigger.ONE_TIME, trigger_time=now, start_time=now
                    ),
                    trigger=Trigger.ONE_TIME,
                    trigger_time=now,
                    idempotency_token=idempotency_token,
                    allowed=named_folders(given, Path(chosen.path).parent),
                    subscribers=self.plugins.subscribers,
                )
                lock = store.own(run.run_id) if created and not run.state.ended else None
        except BaseException:
            if lock is not None:
                lock.release()
            store.close()
            raise
        return ActiveRun(self, store, found, chosen, run, lock, listener, progress, created=created, origin=origin)

    def runs(self, *, limit: int = 20, job: str | None = None) -> list[JobRun]:
        """Return the newest runs of the home, newest first."""
        with ExitStack() as stack:
            store = self._reading(stack)
            return store.runs(limit=limit, job=job) if store else []

    def run(self, run_id: int) -> tuple[JobRun, Job]:
        """Return one run and the job as it was when the run started; UsageError when there is none."""
        with ExitStack() as stack:
            store = self._reading(stack)
            if store is None:
                raise UsageError(f"there is no run {run_id}: {self.settings().home} holds no runs yet")
            return store.run(run_id), store.snapshot(run_id)[0]

    def ticks(self, job: str | None = None, *, limit: int = 50) -> list[Tick]:
        """Return the newest rows of the ledger of ticks, newest first; of one job when its name is given.

        Raises UsageError for a job that is not known.
        """
        with ExitStack() as stack:
            store = self._reading(stack)
            if store is None and job is not None:
                raise UsageError(f"there is no job {shown(job)!r}: {self.settings().home} holds nothing yet")
            return store.ticks(job, limit=limit) if store else []

    def log_path(self, run_id: int, task_key: str, attempt_number: int, iteration: int = -1) -> Path:
        """Return the file that holds the captured output of an attempt of a task, or of one of its iterations."""
        return folders.attempt_folder(self.settings().home, run_id, task_key, attempt_number, iteration) / "log"
