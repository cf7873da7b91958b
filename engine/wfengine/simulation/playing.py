"""Simulates jobs from a moment to another, on several cores where no job can notice another."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from wfengine import schedule
from wfengine.errors import WfengineError
from wfengine.jobs import Job
from wfengine.simulation.report import JobReport, report
from wfengine.simulation.world import Scene, Simulation

#: Ticks below which a further process is not worth its start.
WORTH = 2_000
_DAY = 86_400_000


def play(scene: Scene, until: int, *, processes: int = 1) -> list[JobReport]:
    """Simulate a scene up to ``until`` (epoch milliseconds, not part of it) and say what came of each job, by name.

    Jobs that share no limit of tasks and do not start each other cannot notice each other; then at most ``processes``
    processes share them out.
    """
    parts = _parts(scene, until, processes)
    waiting = [_elsewhere(partial(_play, part, until)) for part in parts[1:]]
    found = _play(parts[0], until)
    for result in waiting:
        found += result()
    return sorted(found, key=lambda one: one.job)


def _play(scene: Scene, until: int) -> list[JobReport]:
    with Simulation(scene) as simulation:
        simulation.advance(until)
        return report(simulation)


def _parts(scene: Scene, until: int, processes: int) -> list[Scene]:
    """Deal the jobs out so that each process has about as much to do."""
    work = {name: _work(job, scene.start, until) for name, job in scene.jobs.items()}
    linked = scene.max_tasks is not None or any(
        task.kind == "run_job" for job in scene.jobs.values() for task in job.tasks
    )
    count = 1 if linked else min(processes, len(work), max(1, sum(work.values()) // WORTH))
    names: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(work, key=lambda name: -work[name]):
        least = loads.index(min(loads))
        names[least].append(name)
        loads[least] += work[name]
    return [msgspec.structs.replace(scene, jobs={name: scene.jobs[name] for name in part}) for part in names]


def _work(job: Job, start: int, until: int) -> int:
    """Guess how many attempts there will be."""
    ticks = (until - start) // _DAY
    try:
        if job.schedule:
            ticks = schedule.compile(job.schedule).count(start, until)
    except WfengineError:
        ticks = 0  # it is not scheduled, and the report says why
    return max(ticks, 1) * len(job.tasks)


def _elsewhere(work: Callable[[], list[JobReport]]) -> Callable[[], list[JobReport]]:
    """Start ``work`` in a process of its own; what is returned waits for it and gives its result."""
    descriptor, name = tempfile.mkstemp(prefix="wfengine-simulation-")
    os.close(descriptor)
    file = Path(name)
    child = os.fork()
    if child == 0:
        # Nothing of the parent's own may go on in this process, whatever happens.
        try:
            file.write_bytes(msgspec.json.encode(_Done(jobs=work())))
        except WfengineError as error:
            file.write_bytes(msgspec.json.encode(_Done(error=str(error))))
        except BaseException:  # noqa: BLE001
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(0)

    def result() -> list[JobReport]:
        os.waitpid(child, 0)
        content = file.read_bytes() or b'{"error": "a process of the simulation died"}'
        file.unlink()
        done = msgspec.json.decode(content, type=_Done)
        if done.error:
            raise WfengineError(done.error)
        return done.jobs

    return result


class _Done(msgspec.Struct):
    """What a process of a simulation has to say at its end."""

    jobs: list[JobReport] = []
    error: str = ""
