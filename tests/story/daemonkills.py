"""Kill a daemon at random moments, start it again, and compare the ledger with what should have been due (D1, D10)."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from typing import NamedTuple

from story.daemons import PATIENCE, Daemon, home
from story.driver import Project
from story.kills import breaks, survivors

from wfengine.app import Engine
from wfengine.states import TickOutcome

#: Each job is due every so many seconds; the jobs in turns, so that something is due all the time.
PERIOD = 5
#: Longest life of a daemon in seconds, its start included.
LONGEST = 2.5


class Tally(NamedTuple):
    """What the kills did; the last five must be 0."""

    kills: int
    #: Instants at which a job was due.
    due: int
    #: Instants without a row in the ledger, or with a row and no run.
    lost: int
    #: Instants with several rows, runs of several instants, runs that were executed twice.
    doubled: int
    #: Runs that have not ended although a daemon served them to the end.
    stuck: int
    #: Tasks that ran without being on record as having run, or the other way round.
    unexplained: int
    survivors: int
    #: What the audit found at the end.
    broken: tuple[str, ...] = ()


def run(project: Project, kills: int, seed: int, jobs: int = 50) -> Tally:
    """Let ``jobs`` be due in turns under daemons that are killed, then let one come to the end of what waits."""
    chance = random.Random(seed)
    for number in range(jobs):
        project.write(f"conf/job{number}.yml", _job(project, number))
    left = 0
    first = Daemon(project, "conf").serving()
    first.kill()
    for _ in range(kills):
        daemon = Daemon(project, "conf")
        try:
            daemon.process.wait(chance.uniform(0.0, LONGEST))
        except subprocess.TimeoutExpired:
            daemon.kill()
        else:
            raise AssertionError(f"the daemon ended by itself: {daemon.noise}")
        left += survivors(home(project))
    last = Daemon(project, "conf").serving()
    last.until(lambda line: line["event"] == "run_queued", count=jobs)
    last.stop()
    # One more, with nothing due any more, ends what the last one left open.
    _finish(project)
    left += survivors(home(project))
    return _tally(project, kills, jobs, left)


def _job(project: Project, number: int) -> str:
    return (
        f"name: job{number}\nmax_concurrent_runs: 1000\n"
        f'schedule: {{quartz_cron_expression: "{number % PERIOD}/{PERIOD} * * * * ?", timezone_id: UTC, catch_up: all}}\n'
        "tasks: [{task_key: t, shell_task: {command: [sh, -c, 'echo {{job.run_id}} >> \"$0\"', "
        f"{project.root / 'ran'}]}}}}]\n"
    )


def _finish(project: Project) -> None:
    """Serve without schedules until no run is open."""
    for file in (project.root / "conf").glob("*.yml"):
        file.unlink()
    project.write("conf/none.yml", "name: none\ntasks: [{task_key: t, shell_task: {command: ['true']}}]\n")
    daemon = Daemon(project, "conf").serving()
    engine = Engine(home(project))
    while engine.status().running:
        daemon.heard("run_ended", daemon.count("run_ended") + 1)
    daemon.stop()


def _tally(project: Project, kills: int, jobs: int, left: int) -> Tally:
    engine = Engine(home(project))
    ran = Counter(map(int, (project.root / "ran").read_text().split()))
    due = lost = doubled = stuck = unexplained = 0
    seen: Counter[int] = Counter()
    for number in range(jobs):
        rows = sorted(engine.ticks(f"job{number}", limit=100_000), key=lambda tick: tick.due)
        expected = range(rows[0].due, rows[-1].due + 1, PERIOD * 1000)
        due += len(expected)
        lost += len(set(expected) - {tick.due for tick in rows if tick.outcome is TickOutcome.RUN})
        doubled += len(rows) - len({tick.due for tick in rows})
        seen.update(tick.run_id for tick in rows if tick.run_id is not None)
        for made in engine.runs(limit=100_000, job=f"job{number}"):
            stuck += not made.state.ended
            success = made.result == "SUCCESS"
            # A task that was killed may have written its line or not; one that succeeded has.
            unexplained += success != bool(ran[made.run_id]) and (success or made.attempts[0].start_time is None)
            doubled += ran[made.run_id] > 1 or len(made.attempts) > 1
            unexplained += seen[made.run_id] == 0
    doubled += sum(count > 1 for count in seen.values())
    return Tally(kills, due, lost, doubled, stuck, unexplained, left, tuple(breaks(project)))


def crowd(project: Project, count: int) -> tuple[Daemon, list[tuple[int, str]]]:
    """Start ``count`` daemons at once; return the one that serves, and exit code and message of each other one."""
    project.write("conf/job.yml", "name: j\ntasks: [{task_key: t, shell_task: {command: ['true']}}]\n")
    daemons = [Daemon(project, "conf") for _ in range(count)]
    served = [daemon for daemon in daemons if daemon.first() is not None]
    for daemon in served[1:]:
        daemon.kill()
    refused = [daemon for daemon in daemons if daemon not in served]
    return served[0], [(daemon.process.wait(PATIENCE), daemon.noise) for daemon in refused]
