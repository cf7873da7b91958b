"""Events reach the run's log and each plugin alone; no plugin changes a run (docs/reliability.md, P1, P2, D4)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import structlog

from wfengine import bus as bus_module
from wfengine import registry
from wfengine.bus import Bus, append_line
from wfengine.courier import backoff_ms
from wfengine.events import AnyEvent, RunEnded, TaskStarted
from wfengine.hooks import hookimpl
from wfengine.jobs import Job, Task
from wfengine.registry import Plugins
from wfengine.runs import ErrorInfo
from wfengine.states import Result, Trigger
from wfengine.store import RUN_LOG, RunLock, Store

JOB = Job(name="daily", tasks=(Task(task_key="t", kind="shell"),), max_concurrent_runs=1000)
HOUR = 3_600_000
#: Real seconds after which a test that hangs fails.
PATIENCE = 20.0


class HandClock:
    """Time moves when the test says so."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000
        self.seconds = 0.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, ms: int) -> None:
        self.ms += ms
        self.seconds += ms / 1000


class Lines:
    """Keeps the structured log lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []
        self.log = structlog.wrap_logger(None, processors=[self._keep], wrapper_class=structlog.BoundLogger)

    def _keep(self, _logger: object, level: str, event: dict[str, object]) -> dict[str, object]:
        self.lines.append({**event, "level": level})
        raise structlog.DropEvent

    def named(self, name: str) -> list[dict[str, object]]:
        return [line for line in self.lines if line["event"] == name]


class Plugin:
    """A notifier that takes note of what it is given, after doing ``act``."""

    def __init__(self, name: str, act: Callable[[AnyEvent], None] = lambda event: None) -> None:
        self.__name__ = name
        self.act = act
        self.taken: list[tuple[int, str]] = []
        self.tried: list[str] = []

    @hookimpl
    def on_event(self, event: AnyEvent, delivery_id: str) -> None:
        self.tried.append(delivery_id)
        self.act(event)
        self.taken.append((event.run_id, getattr(event, "task_key", event.__struct_config__.tag)))


class House:
    """A home with a store, from which buses are started and runs tell what happened."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = HandClock()
        self.store = Store.open(home, self.clock)
        self.lines = Lines()
        self.buses: list[Bus] = []

    def plugins(self, *plugins: Plugin) -> Plugins:
        return only(registry.load(extra=plugins), plugins)

    def bus(self, *plugins: Plugin) -> Bus:
        self.buses.append(Bus(self.store, self.plugins(*plugins), self.clock, self.lines.log))
        return self.buses[-1]

    def run(self, *plugins: Plugin) -> RunLock:
        names = [plugin.__name__ for plugin in plugins]
        run, _ = self.store.create_run(
            JOB, parameters=lambda *ids: {}, trigger=Trigger.ONE_TIME, trigger_time=self.clock.ms, subscribers=names
        )
        lock = self.store.own(run.run_id)
        assert lock is not None
        return lock

    def about(self, lock: RunLock) -> dict[str, object]:
        return {"time": self.clock.ms, "run_id": lock.run_id, "job_id": 1, "job_name": "daily"}

    def tell(self, lock: RunLock, *keys: str, plugins: tuple[Plugin, ...]) -> None:
        with self.store.transaction(lock, [plugin.__name__ for plugin in plugins]) as tx:
            for key in keys:
                tx.event(TaskStarted(**self.about(lock), task_key=key, task_run_id=2))

    def end(self, lock: RunLock, plugins: tuple[Plugin, ...]) -> None:
        with self.store.transaction(lock, [plugin.__name__ for plugin in plugins]) as tx:
            tx.event(RunEnded(**self.about(lock), result=Result.SUCCESS))

    def left(self, name: str, run_id: int = 1) -> list[int]:
        return [pending.number for pending in self.store.outbox.pending(name, run_id, 1000)]

    def run_log(self, run_id: int = 1) -> list[dict[str, object]]:
        text = (self.home / "runs" / str(run_id) / RUN_LOG).read_text()
        return [msgspec.json.decode(line) for line in text.splitlines()]


def only(plugins: Plugins, wanted: tuple[Plugin, ...]) -> Plugins:
    """Leave out what happens to be installed beside the tests."""
    plugins.subscribers = tuple(name for name in plugins.subscribers if name in {one.__name__ for one in wanted})
    return plugins


def until(condition: Callable[[], bool]) -> None:
    """Look again and again until the bus has got there."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the bus did not get there")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    for bus in house.buses:
        bus.close(PATIENCE)
    house.store.close()


def test_every_event_is_one_line_in_the_log_of_its_run_and_one_in_the_structured_log(house: House) -> None:
    """docs/reliability.md, C16."""
    bus = house.bus()
    lock = house.run()
    with house.store.transaction(lock) as tx:
        error = ErrorInfo(message="two\nlines", traceback="long\n" * 10)
        about = house.about(lock)
        tx.event(RunEnded(**about, result=Result.FAILED, message="bad\nnews", failed_tasks=("t",)))
        tx.event(
            msgspec.json.decode(
                msgspec.json.encode(
                    {**about, "kind": "task_ended", "task_key": "t", "task_run_id": 2, "attempt_number": 0,
                     "result": "FAILED", "error": error}
                ),
                type=AnyEvent,
            )
        )  # fmt: skip
    bus.kick()
    assert bus.drain(PATIENCE)
    assert [line["kind"] for line in house.run_log()] == ["run_queued", "run_ended", "task_ended"]
    assert house.run_log()[2]["error"]["traceback"] == "long\n" * 10
    assert [line["event"] for line in house.lines.lines] == ["run_queued", "run_ended", "task_ended"]
    assert house.lines.lines[1]["failed_tasks"] == ("t",)
    assert house.lines.lines[2]["error"] == "two\nlines"
    assert house.left(RUN_LOG) == []
    assert (house.home / "runs" / "1" / RUN_LOG).stat().st_mode & 0o777 == 0o600


def test_each_plugin_gets_every_event_once_in_the_order_of_its_run(house: House) -> None:
    plugins = (Plugin("one"), Plugin("two"))
    bus = house.bus(*plugins)
    locks = [house.run(*plugins) for _ in range(3)]
    for number in range(50):
        for lock in locks:
            house.tell(lock, f"t{number}", f"u{number}", plugins=plugins)
        bus.kick()
    assert bus.close(PATIENCE)
    expected = ["run_queued", *(f"{kind}{number}" for number in range(50) for kind in "tu")]
    for plugin in plugins:
        for lock in locks:
            assert [key for run_id, key in plugin.taken if run_id == lock.run_id] == expected
            assert house.left(plugin.__name__, lock.run_id) == []
        assert len(set(plugin.tried)) == len(plugin.tried) == 3 * 101


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.faults
def test_a_plugin_that_raises_anything_is_logged_and_the_others_go_on(house: House, error: BaseException) -> None:
    """docs/reliability.md, P1."""

    def act(event: AnyEvent) -> None:
        raise error

    bad, good = Plugin("bad", act), Plugin("good")
    bus = house.bus(bad, good)
    lock = house.run(bad, good)
    house.tell(lock, "a", "b", plugins=(bad, good))
    bus.kick()
    assert bus.drain(PATIENCE)
    assert [key for _, key in good.taken] == ["run_queued", "a", "b"]
    assert bad.tried == ["1-1-bad"]
    (line,) = house.lines.named("delivery failed")
    assert (line["plugin"], line["hook"], line["event_kind"], line["tries"]) == ("bad", "on_event", "run_queued", 1)
    assert str(line["error"]).startswith(type(error).__name__)
    assert house.left("bad") == [1, 2, 3]


def test_a_failed_delivery_holds_back_later_events_of_its_run_only(house: House) -> None:
    failing = {1}

    def act(event: AnyEvent) -> None:
        if event.run_id in failing:
            raise ConnectionError

    plugin = Plugin("mail", act)
    bus = house.bus(plugin)
    first, second = house.run(plugin), house.run(plugin)
    house.tell(first, "a", plugins=(plugin,))
    house.tell(second, "b", plugins=(plugin,))
    bus.kick()
    assert bus.drain(PATIENCE)
    assert plugin.taken == [(second.run_id, "run_queued"), (second.run_id, "b")]
    failing.clear()
    house.clock.advance(2000)
    bus.kick()
    assert bus.drain(PATIENCE)
    assert plugin.taken[2:] == [(first.run_id, "run_queued"), (first.run_id, "a")]
    assert plugin.tried.count("1-1-mail") == 2


def test_a_failing_delivery_is_repeated_ever_more_slowly_and_given_up_after_a_day(house: House) -> None:
    """docs/reliability.md, P6: the same delivery id each time; after the dead letter the next event has its turn."""

    def act(event: AnyEvent) -> None:
        if not isinstance(event, TaskStarted):
            raise ConnectionError("down")

    plugin = Plugin("mail", act)
    bus = house.bus(plugin)
    lock = house.run(plugin)
    house.tell(lock, "a", plugins=(plugin,))
    start = house.clock.ms
    tries = []
    while not plugin.taken and len(tries) < 100:
        bus.kick()
        assert bus.drain(PATIENCE)
        tries.append((house.clock.ms - start, len(plugin.tried)))
        due = house.store.outbox.next_retry("mail", house.clock.ms)
        house.clock.advance(due - house.clock.ms if due else 0)
    assert set(plugin.tried) == {"1-1-mail", "1-2-mail"}
    assert 24 * HOUR <= tries[-1][0] <= 25.2 * HOUR
    assert 30 <= len(plugin.tried) <= 40
    assert len(house.lines.named("delivery given up")) == 1
    state = house.store._database._connection.execute("SELECT state, tries, error FROM deliveries").fetchall()
    assert [tuple(row) for row in state] == [("DEAD", len(plugin.tried) - 1, "ConnectionError: down")]


def test_the_wait_between_repetitions_doubles_up_to_an_hour() -> None:
    assert [backoff_ms(tries, 0.0) for tries in (0, 1, 2, 11, 12, 5000)] == [
        1000, 2000, 4000, 2_048_000, HOUR, HOUR,
    ]  # fmt: skip
    assert backoff_ms(3, 1.0) == 8800


@pytest.mark.faults
def test_a_plugin_that_hangs_three_times_is_disabled_and_the_others_go_on(house: House) -> None:
    """docs/reliability.md, P2."""
    gate, entered = threading.Event(), threading.Semaphore(0)

    def act(event: AnyEvent) -> None:
        entered.release()
        gate.wait(PATIENCE)

    slow, good = Plugin("slow", act), Plugin("good")
    bus = house.bus(slow, good)
    lock = house.run(slow, good)
    for number in range(3):
        house.clock.advance(5000)
        house.tell(lock, f"t{number}", plugins=(slow, good))
        bus.kick()
        assert entered.acquire(timeout=PATIENCE)
        until(lambda: house.left("good") == house.left(RUN_LOG) == [])
        assert bus.disabled == {}
        house.clock.advance(10_000)
        bus.kick()
        assert bus.drain(PATIENCE)
    assert [key for _, key in good.taken] == ["run_queued", "t0", "t1", "t2"]
    assert bus.disabled == {"slow": "3 deliveries took longer than 10 s each"}
    assert [line["plugin"] for line in house.lines.named("plugin disabled in this process")] == ["slow"]
    assert [line["error"] for line in house.lines.named("delivery failed")] == ["took longer than 10 s"] * 3
    house.clock.advance(HOUR)
    house.tell(lock, "later", plugins=(slow, good))
    bus.kick()
    gate.set()
    assert bus.close(PATIENCE)
    assert len(slow.tried) == 3
    assert good.taken[-1] == (1, "later")
    assert house.left("slow") == [1, 2, 3, 4, 5]


def test_what_is_left_at_the_end_is_delivered_by_the_next_process(house: House) -> None:
    """docs/reliability.md, P5: nothing is lost."""
    gate, entered = threading.Event(), threading.Event()

    def act(event: AnyEvent) -> None:
        entered.set()
        gate.wait(PATIENCE)

    hanging = Plugin("mail", act)
    bus = house.bus(hanging)
    lock = house.run(hanging)
    house.tell(lock, "a", plugins=(hanging,))
    bus.kick()
    assert entered.wait(PATIENCE)
    assert not bus.close(0.0)
    gate.set()
    assert house.left("mail") == [1, 2]
    healthy = Plugin("mail")
    assert house.bus(healthy).close(PATIENCE)
    assert [key for _, key in healthy.taken] == ["run_queued", "a"]
    assert house.left("mail") == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_thousands_of_runs_that_wait_cost_no_thousands_of_descriptors(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/reliability.md, D1: each held run costs a descriptor, and a process has no more than 1,024 on most systems."""
    monkeypatch.setattr(bus_module, "MAX_HOLDS", 5)
    monkeypatch.setattr(bus_module, "BATCH", 10)
    locks = [house.run() for _ in range(100)]
    before = len(os.listdir("/proc/self/fd"))
    bus = house.bus()
    assert bus.drain(PATIENCE)
    assert len(os.listdir("/proc/self/fd")) - before < 30
    for lock in locks:
        house.end(lock, ())
    bus.kick()
    assert bus.drain(PATIENCE)
    for lock in locks:
        assert [line["kind"] for line in house.run_log(lock.run_id)] == ["run_queued", "run_ended"]


def test_two_processes_on_one_home_do_not_deliver_the_same_event_twice(house: House) -> None:
    first, second = Plugin("mail"), Plugin("mail")
    one = house.bus(first)
    lock = house.run(first)
    one.kick()
    assert one.drain(PATIENCE)
    other = house.bus(second)
    house.tell(lock, "a", plugins=(first,))
    other.kick()
    assert other.drain(PATIENCE)
    assert second.taken == []
    one.kick()
    assert one.drain(PATIENCE)
    house.end(lock, (first,))
    one.kick()
    assert one.drain(PATIENCE)
    assert [key for _, key in first.taken] == ["run_queued", "a", "run_ended"]
    # The run is over, so whoever comes first may deliver what else is told of it.
    house.tell(lock, "repair", plugins=(first,))
    other.kick()
    assert other.drain(PATIENCE)
    assert second.taken == [(1, "repair")]


@pytest.mark.faults
def test_a_full_disk_for_the_run_log_delays_only_the_run_log(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/reliability.md, D4."""

    def full(path: Path, line: bytes) -> None:
        raise OSError(28, "No space left on device")

    plugin = Plugin("mail")
    monkeypatch.setattr(bus_module, "append_line", full)
    bus = house.bus(plugin)
    lock = house.run(plugin)
    house.tell(lock, "a", plugins=(plugin,))
    bus.kick()
    assert bus.drain(PATIENCE)
    assert [key for _, key in plugin.taken] == ["run_queued", "a"]
    assert house.left(RUN_LOG) == [1, 2]
    monkeypatch.undo()
    house.clock.advance(2000)
    bus.kick()
    assert bus.drain(PATIENCE)
    assert [line["kind"] for line in house.run_log()] == ["run_queued", "task_started"]
    assert [line["event"] for line in house.lines.lines].count("run_queued") == 1


@pytest.mark.faults
def test_a_state_that_cannot_be_written_is_said_once_and_delivery_resumes(house: House) -> None:
    """docs/reliability.md, D3."""
    plugin = Plugin("mail")
    bus = house.bus(plugin)
    connection = bus._store._database._connection
    lock = house.run(plugin)
    connection.execute("PRAGMA query_only = ON")
    bus.kick()
    assert not bus.drain(0.2)
    for _ in range(3):
        bus.kick()
    assert not bus.drain(0.2)
    assert [line["level"] for line in house.lines.named("deliveries wait for the state")] == ["error"]
    connection.execute("PRAGMA query_only = OFF")
    house.tell(lock, "a", plugins=(plugin,))
    bus.kick()
    assert bus.drain(PATIENCE)
    assert [key for _, key in plugin.taken] == ["run_queued", "a"]
    assert house.left("mail") == house.left(RUN_LOG) == []


def test_a_line_torn_by_a_crash_is_ended_before_the_next(tmp_path: Path) -> None:
    """docs/reliability.md, C16: one event = one line."""
    path = tmp_path / "log"
    append_line(path, b"{}")
    with path.open("ab") as file:
        file.write(b'{"torn')
    append_line(path, b"[]")
    append_line(path, b"[1]")
    assert path.read_bytes() == b'{}\n{"torn\n[]\n[1]\n'
