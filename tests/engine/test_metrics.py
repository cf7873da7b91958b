"""Metrics: what the store says in Prometheus' text form, on the loopback address and to nobody else."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ticking import MINUTE, START, World, job

from wfengine import metrics, settings
from wfengine.clock import SystemClock
from wfengine.errors import MissingExtraError, StateError, UsageError
from wfengine.metrics import MetricsServer, server
from wfengine.metrics.tally import Tally
from wfengine.pulse import Beat
from wfengine.states import LifeCycle, Result, Trigger

prometheus = pytest.importorskip("prometheus_client.parser", reason="needs the extra metrics")

BEAT = Beat(pid=7, started_at=START, time=START, steady=1.0, lag_p99=0.004, lag_max=0.2, broken=2)

Serve = Callable[..., MetricsServer]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "home")
    yield world
    world.close()


@pytest.fixture
def serve(world: World) -> Iterator[Serve]:
    """Serve the metrics of the world's home on a port that the system chooses."""
    started: list[MetricsServer] = []

    def start(*subscribers: str) -> MetricsServer:
        started.append(metrics.serve(0, world.store, SystemClock(), lambda: BEAT, subscribers))
        return started[-1]

    yield start
    for one in started:
        one.close()


def ask(served: MetricsServer, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def raw(served: MetricsServer, request: bytes) -> bytes:
    """Send bytes as they are and return all that comes back."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(request)
        with contextlib.suppress(OSError):  # it may have answered and hung up already
            connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def samples(served: MetricsServer) -> dict[tuple[str, ...], float]:
    """Scrape as Prometheus does: name and label values of every sample."""
    status, text = ask(served)
    assert status == 200, text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in prometheus.text_string_to_metric_families(text)
        for sample in family.samples
    }


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_ticks_runs_and_durations_are_counted_from_the_start_of_the_daemon(world: World, serve: Serve) -> None:
    world.load(job("before"))
    world.tick(MINUTE)
    served = serve()
    world.load(job("a"), job("b"))
    for run_id in world.tick(MINUTE).created:
        lock = world.store.own(run_id)
        assert lock is not None
        with lock, world.store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING, start_time=world.clock.wall + 40)
            tx.run(
                LifeCycle.RUNNING,
                state=LifeCycle.TERMINATED,
                result=Result.SUCCESS,
                end_time=world.clock.wall + 2540,
            )
    found = samples(served)
    assert found["wfengine_ticks_total", "a", "RUN"] == 1
    assert found["wfengine_runs_total", "a", "SUCCESS"] == 1
    assert found["wfengine_run_duration_seconds_count", "b"] == 1
    assert found["wfengine_run_duration_seconds_sum", "b"] == 2.5
    assert found["wfengine_runs", "PENDING"] == 1
    assert found["wfengine_runs", "RUNNING"] == 0
    assert found["wfengine_queue_length", "a"] == 0
    buckets = [found["wfengine_tick_start_delay_seconds_bucket", bound] for bound in ("0.025", "0.05", "+Inf")]
    assert buckets == [0, 2, 2]
    assert found["wfengine_tick_start_delay_seconds_sum",] == pytest.approx(0.08)
    assert samples(served) == found


def test_figures_of_the_daemon_and_of_its_plugins_are_shown(world: World, serve: Serve) -> None:
    world.load(job())
    served = serve("mail", "slack")
    world.store.create_run(
        job(), parameters=lambda job_id, run_id: {}, trigger=Trigger.ONE_TIME, trigger_time=START, by="daemon",
        subscribers=("mail",),
    )  # fmt: skip
    found = samples(served)
    assert found["wfengine_event_backlog", "mail"] == 1
    assert found["wfengine_event_backlog", "slack"] == found["wfengine_dead_letters", "mail"] == 0
    assert (found["wfengine_loop_lag_seconds", "0.99"], found["wfengine_loop_lag_seconds", "1"]) == (0.004, 0.2)
    assert found["wfengine_job_files_broken",] == 2
    assert found["wfengine_store_bytes",] > 10_000
    assert [key for key in found if key[0] == "wfengine_build_info"]


def test_a_run_that_had_to_queue_is_not_late(world: World) -> None:
    tally = Tally(world.store)
    world.load(job(queue_enabled=True))
    world.tick(MINUTE)
    world.tick(MINUTE)
    tally.follow()
    world.end_all()
    world.tick(9 * MINUTE)
    tally.follow()
    world.end_all()
    tally.follow()
    assert sum(tally.delays) == 1
    assert sum(tally.ended.values()) == 2


def test_a_long_pause_between_two_scrapes_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wfengine.store.figures.BATCH", 7)
    tally = Tally(world.store)
    world.load(*(job(f"j{n}") for n in range(10)))
    for _ in range(5):
        world.tick(MINUTE)
        world.end_all()
    tally.follow()
    assert sum(tally.ticks.values()) == sum(tally.ended.values()) == sum(tally.delays) == 50
    tally.follow()
    assert sum(tally.ticks.values()) == 50


def test_missed_ticks_count_each_instant(world: World) -> None:
    world.load(job(catch_up="none"))
    tally = Tally(world.store)
    world.restart(after=20 * MINUTE + 45_000)
    world.tick()
    tally.follow()
    assert [(outcome, count) for (_, outcome), count in tally.ticks.items()] == [("MISSED", 20)]


def test_there_are_no_more_series_than_loaded_jobs_allow(world: World, serve: Serve) -> None:
    world.load(*(job(f"j{n}") for n in range(20)))
    served = serve()
    world.tick(MINUTE)
    many = samples(served)
    world.load(job("j1"))
    few = samples(served)
    assert len([key for key in many if "j2" in key]) > 0
    assert {key[1] for key in few if key[0] in ("wfengine_ticks_total", "wfengine_queue_length")} == {"j1"}


def test_names_that_need_escaping_are_escaped(world: World, serve: Serve) -> None:
    """docs/reliability.md, C10."""
    name = 'a "quoted" \\ job\nwith a line'
    world.load(job(name))
    assert samples(serve())["wfengine_queue_length", name] == 0


# -- who may see it ---------------------------------------------------------------------------------------------------


def test_only_this_machine_can_connect(serve: Serve) -> None:
    """docs/operating.md, Health and metrics."""
    assert serve().server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9464", "[::1]:80", "LOCALHOST"])
def test_a_name_of_this_machine_is_answered(serve: Serve, host: str) -> None:
    assert ask(serve(), "/metrics", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "127.0.0.1@x"]
)
@pytest.mark.parametrize("path", ["/metrics", "/health", "/other"])
def test_any_other_name_is_refused(serve: Serve, host: str, path: str) -> None:
    """docs/operating.md, Health and metrics: a page of the internet that lets its name point here learns nothing."""
    status, text = ask(serve(), path, Host=host)
    assert (status, "wfengine_" in text) == (403, False)


def test_a_request_without_a_name_is_refused(serve: Serve) -> None:
    assert raw(serve(), b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 403 ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"), ("GET", "/metrics/"), ("GET", "/../etc/passwd"), ("POST", "/metrics"),
        ("HEAD", "/metrics"), ("PUT", "/health"), ("OPTIONS", "/metrics"), ("DELETE", "/nothing"),
    ],
)  # fmt: skip
def test_everything_else_does_not_exist(serve: Serve, method: str, path: str) -> None:
    assert ask(serve(), path, method)[0] == 404


def test_what_is_asked_is_not_repeated(serve: Serve) -> None:
    """docs/operating.md, Health and metrics."""
    status, text = ask(serve(), "/<script>alert(1)</script>")
    assert (status, "script" in text) == (404, False)


@pytest.mark.parametrize(
    "request_",
    [b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET /metrics HTTP/9.9\r\n\r\n", b"x" * 100_000],
    ids=["nothing", "empty", "one word", "TLS", "version", "too large"],
)
def test_nonsense_harms_nobody(serve: Serve, request_: bytes) -> None:
    """docs/operating.md, Health and metrics."""
    served = serve()
    try:
        answer = raw(served, request_)
    except ConnectionError:
        answer = b""
    assert b" 200 " not in answer
    assert ask(served)[0] == 200


def test_a_client_that_sends_its_request_byte_by_byte_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for the whole request, not for each byte."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.3)
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as slow:
        closed, sent = threading.Event(), 0
        slow.settimeout(0.05)
        for byte in b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 5000:
            try:
                slow.sendall(bytes([byte]))
                sent += 1
                if slow.recv(1) == b"":
                    closed.set()
            except TimeoutError:
                continue
            except OSError:
                closed.set()
            if closed.is_set():
                break
    assert closed.is_set()
    assert sent < 100
    assert ask(served)[0] == 200


def test_closing_does_not_wait_for_a_client(serve: Serve) -> None:
    """A daemon that ends is not held up by whoever watches it."""
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as idle:
        idle.sendall(b"GET ")
        served.close()
        assert not served._thread.is_alive()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", served.port), timeout=5)


# -- health -----------------------------------------------------------------------------------------------------------


def test_health_says_what_is_wrong_and_healthz_only_whether_the_daemon_turns(serve: Serve) -> None:
    served = serve()
    status, text = ask(served, "/health")
    told = json.loads(text)
    assert (status, told["ok"]) == (503, False)
    assert [finding["subject"] for finding in told["findings"]] == ["daemon"]
    assert (ask(served, "/healthz")) == (503, '{"ok": false, "findings": []}')


def test_a_store_that_cannot_be_read_is_said(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()

    def broken(self: Tally) -> None:
        raise StateError("state.db is damaged")

    monkeypatch.setattr(Tally, "follow", broken)
    assert ask(served) == (503, "state.db is damaged\n")


# -- starting ---------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said(world: World, serve: Serve) -> None:
    with pytest.raises(UsageError, match=rf"port {(port := serve().port)} in \[metrics\] of wfengine.toml .* choose"):
        metrics.serve(port, world.store, SystemClock(), lambda: BEAT, ())


def test_without_the_extra_the_sentence_names_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "wfengine.metrics.collector", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'metrics': pip install 'wfengine\[metrics\]'"):
        metrics.serve(0, world.store, SystemClock(), lambda: BEAT, ())


@pytest.mark.parametrize("port", ["0", "65536", "-1", '"9464"', "true"])
def test_a_port_that_is_none_is_refused_in_the_file(tmp_path: Path, port: str) -> None:
    (tmp_path / "wfengine.toml").write_text(f"[metrics]\nport = {port}\n")
    with pytest.raises(UsageError, match=r"wfengine.toml: .*metrics.port"):
        settings.load(tmp_path, environ={})


def test_metrics_are_off_unless_a_port_is_named(tmp_path: Path) -> None:
    (tmp_path / "wfengine.toml").write_text("")
    assert settings.load(tmp_path, environ={}).metrics.port is None
    (tmp_path / "wfengine.toml").write_text("[metrics]\nport = 9464\n")
    assert settings.load(tmp_path, environ={}).metrics.port == 9464
