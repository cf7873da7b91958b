"""What a person does with a daemon and its jobs, from any process of the same machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wfengine import control, jobfile, scheduler
from wfengine.app.base import Base
from wfengine.errors import JobFileError, UsageError, did_you_mean, listed, shown
from wfengine.home import run_folder
from wfengine.runs import JobRow, JobRun
from wfengine.states import LifeCycle
from wfengine.store import Store

if TYPE_CHECKING:
    from wfengine.daemon import Daemon
    from wfengine.health import Facts, Health
    from wfengine.shelf import Content
    from wfengine.simulation import Scene


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on in a home."""

    home: str
    #: Process id of the daemon that serves it; None without one.
    daemon: int | None
    #: Runs that have not ended.
    running: list[JobRun]


class Operating(Base):
    """Operations on jobs that a daemon looks after."""

    def daemon(self, sources: Sequence[str | Path], *, max_tasks: int | None = None) -> Daemon:
        """Make the long-running process for these job files, folders and globs; its ``serve`` blocks."""
        from wfengine.daemon import Daemon

        paths = self._settle(sources)
        found = self.settings()
        return Daemon(
            settings=msgspec.structs.replace(found, max_tasks=max_tasks or found.max_tasks),
            sources=paths,
            read=partial(self._content, found.root),
            plugins=self.plugins,
            clock=self._clock,
            environ=os.environ,
            finder=self.finder,
        )

    def scene(self, sources: Sequence[str | Path], *, start: int, max_tasks: int | None = None) -> Scene:
        """Read these job files, folders and globs for a simulation that begins at ``start`` (epoch milliseconds).

        Without ``max_tasks`` any number of tasks may run at the same time. Raises UsageError with all that is wrong
        with the files, and when there is no job in them.
        """
        from wfengine.shelf import Shelf
        from wfengine.simulation import Scene, Script

        shelf = Shelf(self._settle(sources), partial(self._content, self.settings().root))
        shelf.refresh()
        if shelf.errors:
            raise UsageError("\n".join(shelf.errors.values()))
        if not shelf.jobs:
            raise UsageError(f"there is no job file in {listed([str(source) for source in sources])}")
        return Scene(
            jobs=shelf.jobs,
            layers=self.plugins.layers,
            settings=self.settings(),
            start=start,
            script=Script(shelf.jobs.values()),
            max_tasks=max_tasks,
        )

    def trigger(
        self, job_name: str, parameters: Mapping[str, str] | None = None, *, idempotency_token: str | None = None
    ) -> tuple[JobRun, bool]:
        """Ask the daemon for a run of a job that it has loaded; returns the run as stored.

        The second value says whether a daemon heard of it; without one the run waits for the next. Raises UsageError
        for an unknown job or parameter, JobFileError when its file has become faulty.
        """
        given = dict(parameters or {})
        with self._operating() as store:
            row = self._loaded_job(store, job_name)
            job, _ = self.validate(row.file, job=job_name)
            run, _ = scheduler.trigger(
                store,
                job,
                given,
                now=self._clock.now_ms(),
                idempotency_token=idempotency_token,
                allowed=named_folders(given, Path(job.path).parent),
                subscribers=self.plugins.subscribers,
            )
        return run, control.knock(self.settings().home)

    def pause(self, job_name: str) -> None:
        """Let no tick of a job count until ``unpause``; UsageError when the daemon has not loaded it."""
        with self._operating() as store:
            store.pause(job_name)
        control.knock(self.settings().home)

    def unpause(self, job_name: str) -> None:
        """Let the ticks of a job count again from now on."""
        with self._operating() as store:
            store.resume(job_name)
        control.knock(self.settings().home)

    def cancel(self, run_id: int, task_key: str | None = None) -> bool:
        """Ask whoever executes a run to cancel it, or one task of it.

        False when nobody listens; then whoever takes the run up does it. Raises UsageError when there is no such run or
        task, or it has ended.
        """
        home = self.settings().home
        if not (home / "state.db").exists():
            raise UsageError(f"there is no run {run_id}: {home} holds no runs yet")
        with self.open_store(self.settings()) as store:
            run = store.run(run_id)
            if run.state.ended:
                raise UsageError(f"run {run_id} has ended already: {run.result or run.state}")
            if task_key is not None and run.state is LifeCycle.QUEUED:
                raise UsageError(f"run {run_id} waits for its turn: cancel the whole of it, or wait until it runs")
            if task_key is not None:
                attempt = run.latest().get(task_key)
                if attempt is None:
                    hint = did_you_mean(task_key, run.latest()) or f"it has {listed(list(run.latest()), 10)}"
                    raise UsageError(f"run {run_id} has no task {shown(task_key)!r} ({hint})")
                if attempt.state.ended:
                    raise UsageError(f"task {task_key} of run {run_id} has ended already: {attempt.result}")
            store.request("cancel", run_id, task_key)
        return control.knock(run_folder(home, run_id), control.RUN_DOOR) or control.knock(home)

    def believe_clock(self) -> bool:
        """Tell the daemon that the clock is right after a jump; False when no daemon listens."""
        with self._operating() as store:
            store.request("believe_clock")
        return control.knock(self.settings().home)

    def jobs(self) -> list[JobRow]:
        """Return the jobs that the home's daemon has loaded."""
        with ExitStack() as stack:
            store = self._reading(stack)
            return store.jobs() if store else []

    def next_due(self, names: Sequence[str]) -> dict[str, int]:
        """Return when loaded jobs with a schedule are due next, in epoch milliseconds.

        Paused ones are left out, and those whose file has become faulty.
        """
        from wfengine.schedule import compile as compile_schedule

        found: dict[str, int] = {}
        with ExitStack() as stack:
            store = self._reading(stack)
            for row in store.jobs() if store else []:
                if row.name not in names or row.paused:
                    continue
                try:
                    job, _ = self.validate(row.file, job=row.name)
                except JobFileError:
                    continue  # the daemon logs what is wrong with it
                if job.schedule is None or job.schedule.pause_status == "PAUSED":
                    continue
                due = compile_schedule(job.schedule).next_after(max(row.cursor, self._clock.now_ms()))
                if due is not None:
                    found[row.name] = due
        return found

    def status(self) -> Status:
        """Say whether a daemon serves the home and what is going on in it."""
        home = self.settings().home
        with ExitStack() as stack:
            store = self._reading(stack)
            alive = control.daemon_alive(home)
            running = [store.run(run_id) for run_id in store.unfinished()] if store else []
        return Status(home=str(home), daemon=control.daemon_pid(home) if alive else None, running=running)

    def health(self) -> tuple[Facts, Health]:
        """Look at the home from outside, with a daemon or without, and judge how well it is served."""
        from wfengine import health

        return health.look(self.settings().home, self._clock)

    def _settle(self, sources: Sequence[str | Path]) -> list[Path]:
        """Take the project around the first of these files and folders as this engine's; return them as paths."""
        paths = [Path(source).absolute() for source in sources]
        self._project = paths[0] if paths[0].is_dir() else paths[0].parent
        return paths

    def _content(self, root: Path, path: Path) -> Content:
        from wfengine.jobfile.bundle.listing import Bundle
        from wfengine.shelf import Content

        # Not ``self.inspect``, which looks for the project around each of maybe ten thousand files.
        found = jobfile.inspect(path, self.plugins.layers, root=root)
        if isinstance(found, Bundle):
            jobs = tuple(listed.job for listed in found.listed if listed.job is not None and listed.runs)
            return Content(jobs=jobs, error="\n".join(map(str, found.faults)))
        return Content(jobs=(found.job,))

    def _operating(self) -> Store:
        home = self.settings().home
        if not (home / "state.db").exists():
            raise UsageError(f"no daemon has served {home} yet: start one with wfengine daemon FILE")
        return Store.open(home, self._clock)

    def _loaded_job(self, store: Store, name: str) -> JobRow:
        rows = {row.name: row for row in store.jobs()}
        if name not in rows:
            hint = did_you_mean(name, rows) or f"it has {listed(sorted(rows), 10) or 'none'}"
            raise UsageError(f"the daemon has no job {shown(name)!r} ({hint})")
        return rows[name]


def named_folders(parameters: Mapping[str, str], base: Path) -> list[str]:
    """Return the existing folders that values given on the command line name: what a person names may be read."""
    paths = [base / value for value in parameters.values() if value and "\0" not in value and len(value) < 4096]
    return [str((path if path.is_dir() else path.parent).resolve()) for path in paths if os.path.exists(path)]
