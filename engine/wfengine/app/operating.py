"""What a person does with a daemon and its jobs, from any process of the same machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wfengine import control, scheduler
from wfengine.app.base import Base
from wfengine.errors import UsageError, did_you_mean, listed, shown
from wfengine.runs import JobRow, JobRun
from wfengine.store import Store

if TYPE_CHECKING:
    from wfengine.daemon import Daemon
    from wfengine.shelf import Content


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

        paths = [Path(source).absolute() for source in sources]
        first = paths[0] if paths[0].is_dir() else paths[0].parent
        self._project = first
        found = self.settings()
        return Daemon(
            settings=msgspec.structs.replace(found, max_tasks=max_tasks or found.max_tasks),
            sources=paths,
            read=self._content,
            plugins=self.plugins,
            clock=self._clock,
            environ=os.environ,
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

    def cancel(self, run_id: int) -> bool:
        """Ask the daemon to cancel a run; False when no daemon listens, and then the next one does it."""
        with self._operating() as store:
            run = store.run(run_id)
            if run.state.ended:
                raise UsageError(f"run {run_id} has ended already: {run.result or run.state}")
            store.request("cancel", run_id)
        return control.knock(self.settings().home)

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
        """Return when loaded jobs with a schedule are due next, in epoch milliseconds; paused ones are left out."""
        from wfengine.schedule import compile as compile_schedule

        found: dict[str, int] = {}
        with ExitStack() as stack:
            store = self._reading(stack)
            for row in store.jobs() if store else []:
                job, _ = self.validate(row.file, job=row.name)
                if row.name not in names or row.paused or job.schedule is None or job.schedule.pause_status == "PAUSED":
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

    def _content(self, path: Path) -> Content:
        from wfengine.jobfile.bundle.listing import Bundle
        from wfengine.shelf import Content

        found = self.inspect(path)
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
