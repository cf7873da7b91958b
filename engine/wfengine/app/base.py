"""What everything that an engine does stands on: its settings, its plugins, its home, its job files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wfengine import jobfile, log, nesting, recovery, settings
from wfengine.bus import Bus
from wfengine.clock import Clock, SystemClock
from wfengine.errors import Fault, JobFileError
from wfengine.finding import Finder
from wfengine.jobs import Job
from wfengine.registry import Plugins
from wfengine.registry import load as load_plugins
from wfengine.settings import Settings
from wfengine.store import Store

if TYPE_CHECKING:
    from wfengine.jobfile.bundle.listing import Bundle
    from wfengine.jobfile.inspection import JobFile

#: Seconds that a finished command waits for notifiers; what is not delivered by then is delivered by a later one.
DELIVERY_SECONDS = 5.0


class Origin(NamedTuple):
    """With what a job was read from its file."""

    variables: Mapping[str, str] = {}
    target: str | None = None


class Base:
    """The parts that ``Engine`` and its operations share."""

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        project: str | Path | None = None,
        root: str | Path | None = None,
        plugins: Sequence[object] = (),
        clock: Clock | None = None,
    ) -> None:
        self._home = Path(home) if home is not None else None
        self._project = Path(project) if project is not None else Path.cwd()
        self._root = Path(root).resolve() if root is not None else None
        self._extra = tuple(plugins)
        self._clock = clock or SystemClock()
        self._loaded: Plugins | None = None

    @property
    def plugins(self) -> Plugins:
        """The plugins found, each with what it offers or why it was refused."""
        if self._loaded is None:
            self._loaded = load_plugins(self._extra)
        return self._loaded

    def settings(self, job_file: str | Path | None = None) -> Settings:
        """Return the settings in force for a job file, or for the project this engine was made for."""
        found = settings.load(Path(job_file).resolve().parent if job_file else self._project, self._home)
        return msgspec.structs.replace(found, root=self._root) if self._root else found

    def validate(
        self,
        path: str | Path,
        variables: Mapping[str, str] | None = None,
        *,
        job: str | None = None,
        target: str | None = None,
    ) -> tuple[Job, tuple[Fault, ...]]:
        """Read and check a job file; returns the job and what is worth a warning.

        ``job`` chooses a job of a bundle by its key or name, ``target`` the bundle's target.
        Raises JobFileError with every fault that could be found.
        """
        root = self.settings(path).root
        found = jobfile.read(
            Path(path), self.plugins.layers, root=root, variables=variables or {}, job=job, target=target
        )
        self.refuse_chains(found.job, Origin(variables or {}, target))
        return found.job, found.warnings

    def refuse_chains(self, job: Job, origin: Origin) -> None:
        """Raise JobFileError when a run_job task of the job would start jobs without end or over too many levels."""
        if found := nesting.faults(job, self.finder(None, origin)):
            raise JobFileError(found)

    def inspect(
        self, path: str | Path, variables: Mapping[str, str] | None = None, *, target: str | None = None
    ) -> JobFile | Bundle:
        """Read and check what a file holds, one job or a bundle of several.

        Raises JobFileError for one job with its faults; a bundle comes with those of its jobs.
        """
        root = self.settings(path).root
        return jobfile.inspect(Path(path), self.plugins.layers, root=root, variables=variables or {}, target=target)

    def finder(self, store: Store | None, origin: Origin | None = None) -> Finder:
        """Return what finds the jobs of run_job tasks; they are read as the job that asks for them was."""
        variables, target = origin or Origin()

        def read(path: Path, name: str) -> Job | None:
            from wfengine.jobfile.bundle.listing import Bundle

            try:
                found = self.inspect(path, variables, target=target)
            except JobFileError:
                if target is None:
                    raise
                found = self.inspect(path, variables)
            if isinstance(found, Bundle):
                return found.pick(name)[0] if any(name in (each.key, each.name) for each in found.listed) else None
            return found.job if found.job.name == name else None

        return Finder(read, store)

    # -- the home -----------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The clock that everything of this engine asks."""
        return self._clock

    def bus(self, store: Store) -> Bus:
        """Make the bus that delivers the stored events to this engine's plugins."""
        return Bus(store, self.plugins, self._clock, log.get())

    def open_store(self, found: Settings) -> Store:
        """Open the home for writing, ending first what a dead engine left."""
        store = Store.open(found.home, self._clock)
        self.recover(store, found)
        return store

    def _reading(self, stack: ExitStack) -> Store | None:
        found = self.settings()
        if not (found.home / "state.db").exists():
            return None
        store = stack.enter_context(Store.open(found.home, self._clock, create=False))
        self.recover(store, found)
        return store

    def recover(self, store: Store, found: Settings) -> None:
        """End the runs that a dead process of this home left."""
        ended = recovery.recover(store, self._clock, lambda run_id: marker(found, run_id), self.plugins.subscribers)
        if ended:
            bus = self.bus(store)
            bus.kick()
            bus.close(DELIVERY_SECONDS)


def marker(found: Settings, run_id: int) -> str:
    """Return the text that every process of a run carries in its environment, to be found by after a crash."""
    return f"{found.home}:{run_id}"
