"""Whatever the clock and the process do, every instant is decided once (docs/reliability.md, D1, D11 to D13)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ticking import DAY, HOUR, MINUTE, SECOND, START, SetClock, World, crowd, job

from wfengine import schedule
from wfengine.failpoints import VARIABLE
from wfengine.jobs import Job, Schedule
from wfengine.runs import Tick

EXPRESSIONS = (
    Schedule(quartz_cron_expression="0 * * * * ?"),
    Schedule(quartz_cron_expression="0/20 * * * * ?"),
    Schedule(quartz_cron_expression="0 0/7 * * * ?", timezone_id="Asia/Kolkata"),
    Schedule(quartz_cron_expression="0 30 2 * * ?", timezone_id="Europe/Berlin"),
    Schedule(cron="15 */2 * * 1-5", timezone_id="America/New_York"),
)

steps = st.one_of(
    st.tuples(st.just("tick"), st.integers(0, 3 * HOUR)),
    st.tuples(st.just("tick"), st.integers(0, 90 * SECOND)),
    st.tuples(st.just("leap"), st.integers(-20 * HOUR, 20 * HOUR)),
    st.tuples(st.just("restart"), st.integers(0, 3 * DAY)),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("end"), st.just(0)),
)
jobs = st.builds(
    lambda timing, policy, limit, queue: job(
        schedule=Schedule(
            quartz_cron_expression=timing.quartz_cron_expression,
            cron=timing.cron,
            timezone_id=timing.timezone_id,
            catch_up=policy,
        ),
        max_concurrent_runs=limit,
        queue_enabled=queue,
    ),
    st.sampled_from(EXPRESSIONS),
    st.sampled_from(schedule.POLICIES),
    st.sampled_from((1, 2, 1000)),
    st.booleans(),
)


def instants(job: Job, after: int, until: int) -> list[int]:
    assert job.schedule is not None
    return schedule.compile(job.schedule).between(after, until, 1_000_000)


def covered(job: Job, tick: Tick) -> list[int]:
    """The instants a row stands for; it must count them rightly."""
    found = instants(job, tick.due - 1, tick.through)
    assert len(found) == tick.count
    assert found[0] == tick.due
    assert found[-1] == tick.through
    return found


class Model:
    """What should be decided: everything after the cursor up to now, unless paused."""

    def __init__(self, job: Job) -> None:
        self.job, self.cursor, self.paused = job, START, False
        self.expected: list[int] = []

    def tick(self, now: int) -> None:
        if not self.paused:
            self.expected += instants(self.job, self.cursor, now)
            self.cursor = max(self.cursor, now)

    def resume(self, now: int) -> None:
        if self.paused:
            self.cursor = max(self.cursor, now)
        self.paused = False


def play(world: World, model: Model, step: str, ms: int) -> None:
    if step == "restart":
        world.restart(after=ms)
    elif step == "leap":
        world.clock.leap(ms)
    elif step == "pause":
        world.store.pause("daily")
        model.paused = True
    elif step == "resume":
        world.store.resume("daily")
        model.resume(world.clock.wall)
    elif step == "end":
        world.end_all()
    else:
        world.clock.advance(ms)
    world.tick()
    # Leaps that add up to more than a day behind the record stop everything until somebody confirms the time.
    if not world.scheduler.alarm:
        model.tick(world.clock.wall)


@settings(max_examples=60, deadline=None)
@given(job=jobs, play_of=st.lists(steps, max_size=14))
def test_each_instant_is_decided_exactly_once_and_never_early(job: Job, play_of: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world, model = World(Path(folder) / "home"), Model(job)
        world.load(job)
        for step, ms in play_of:
            play(world, model, step, ms)
        rows = world.ticks()
        decided = [instant for tick in rows for instant in covered(job, tick)]
        assert sorted(decided) == model.expected
        assert all(tick.recorded_at >= tick.through for tick in rows)
        made = {run.run_id: run for run in world.store.runs(limit=100_000)}
        assert sorted(made) == sorted(tick.run_id for tick in rows if tick.run_id)
        assert all(made[tick.run_id].trigger_time == tick.due for tick in rows if tick.run_id)
        world.close()


# -- processes that die ----------------------------------------------------------------------------------------------

#: Ticks as fast as it can, on a clock that begins where it is told to, and says each time how far it has come.
SCRIPT = f"""
import random, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from ticking import SECOND, SetClock, World, crowd
from pathlib import Path

home, wall, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
world = World(home, SetClock(wall))
world.load(*crowd())
while True:
    world.tick(chance.randrange(200 * SECOND))
    print(world.clock.wall, flush=True)
"""


def die(home: Path, wall: int, seed: int, failpoint: str = "", steps: int = 0) -> int:
    """Let a process tick until it has come ``steps`` steps far or dies of itself; return its last time."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(home), str(wall), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, VARIABLE: failpoint},
    )
    assert process.stdout is not None
    count = 0
    for line in process.stdout:
        wall, count = int(line), count + 1
        if steps and count >= steps:
            process.kill()
            break
    process.stdout.close()
    process.wait()
    return wall


def check(home: Path) -> None:
    world = World(home)
    cursors = {timing.job_name: timing.cursor for timing in world.store.timings()}
    for member in crowd():
        rows = world.ticks(member.name)
        decided = [instant for tick in rows for instant in covered(member, tick)]
        assert sorted(decided) == instants(member, START, cursors[member.name])
        made = {run.run_id: run.trigger_time for run in world.store.runs(limit=1_000_000, job=member.name)}
        assert made == {tick.run_id: tick.due for tick in rows if tick.run_id}
    world.close()


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(2))
def test_kills_lose_no_tick_and_double_none(tmp_path: Path, seed: int) -> None:
    """docs/reliability.md, D1: also when each process begins with a clock that was set meanwhile."""
    chance, wall = random.Random(seed), START
    start(tmp_path)
    for _ in range(10):
        steps = chance.randrange(1, 12)
        wall = die(tmp_path / "home", wall, chance.randrange(1000), steps=steps)
        wall += chance.randrange(-10 * MINUTE, 2 * HOUR)
    check(tmp_path / "home")


@pytest.mark.faults
@pytest.mark.parametrize("failpoint", ["tick.before_commit:2", "tick.after_commit:2"])
def test_dying_around_the_commit_leaves_all_of_a_turn_or_nothing(tmp_path: Path, failpoint: str) -> None:
    """docs/reliability.md, D1."""
    start(tmp_path)
    wall = die(tmp_path / "home", START, 1, failpoint)
    check(tmp_path / "home")
    die(tmp_path / "home", wall, 2, steps=3)
    check(tmp_path / "home")


def start(folder: Path) -> None:
    """Load the jobs at the moment from which everything is counted."""
    world = World(folder / "home", SetClock())
    world.load(*crowd())
    world.close()
