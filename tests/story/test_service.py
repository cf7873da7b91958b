"""The daemon as a service: what it tells the service manager, health checks and Prometheus, and the files in conf/service."""

from __future__ import annotations

import configparser
import inspect
import json
import os
import queue
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import pytest
from story.daemons import PATIENCE, Daemon
from story.driver import REPO

from wfengine import control, daemon, errors, settings
from wfengine.cli import COMMANDS, cli

UNIT = REPO / "conf" / "service" / "wfengine.service"
CONTAINER = REPO / "conf" / "service" / "Containerfile"
JOB = "tasks: [{task_key: t, shell_task: {command: ['true']}}]\n"


@pytest.fixture
def serve(project):
    """Start daemons that are killed at the end of the test should they still be there."""
    project.write("conf/job.yml", f"name: daily\n{JOB}")
    started: list[Daemon] = []

    def start(**environ):
        started.append(Daemon(project, "conf", **environ))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


# -- the service manager ----------------------------------------------------------------------------------------------


class Manager:
    """The receiving side of systemd's notify protocol; it listens all the time, for the kernel keeps only a few messages."""

    def __init__(self, address: str, *, listens: bool = True) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._open = listens
        self._thread = threading.Thread(target=self._listen, daemon=True)
        if listens:
            self._thread.start()

    def _listen(self) -> None:
        while self._open:
            if select.select([self._socket], [], [], 0.1)[0]:
                self._heard.put(self._socket.recv(4096).decode())

    def next(self) -> str:
        return self._heard.get(timeout=PATIENCE)

    def until(self, state: str) -> list[str]:
        """Return all that is told up to ``state``."""
        told = [self.next()]
        while told[-1] != state:
            told.append(self.next())
        return told

    def close(self) -> None:
        if self._open:
            self._open = False
            self._thread.join()
        self._socket.close()


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request):
    """A manager, and the address that it gives to what it starts."""
    if request.param == "an abstract name" and not sys.platform.startswith("linux"):
        pytest.skip("abstract names are Linux's")
    # The path of a socket has at most a hundred bytes or so.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        given = f"{folder}/notify" if request.param == "a path" else f"@wfengine-test-{os.getpid()}"
        made = Manager("\0" + given[1:] if given.startswith("@") else given)
        yield made, given
        made.close()


def test_the_service_manager_hears_when_it_is_ready_that_it_turns_and_that_it_ends(serve, manager):
    """docs/operating.md, As a service."""
    receiver, address = manager
    served = serve(NOTIFY_SOCKET=address, WATCHDOG_USEC="200000")
    assert receiver.next() == "READY=1"
    assert [receiver.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
    served.signal(signal.SIGTERM)
    assert set(receiver.until("STOPPING=1")[:-1]) <= {"WATCHDOG=1"}
    served.ended()


def test_a_daemon_that_drains_goes_on_telling_the_watchdog(serve, manager, project):
    receiver, address = manager
    task = "tasks: [{task_key: t, shell_task: {command: [sleep, '600']}}]"
    project.write("conf/job.yml", f"name: daily\n{task}\n")
    served = serve(NOTIFY_SOCKET=address, WATCHDOG_USEC="200000").serving()
    project.run("trigger", "daily")
    served.heard("task_started")
    served.signal(signal.SIGTERM)
    receiver.until("STOPPING=1")
    assert receiver.next() == "WATCHDOG=1"
    served.signal(signal.SIGTERM)
    served.ended()


@pytest.mark.parametrize("address", ["gone/notify", "@wfengine-nobody-listens"])
def test_a_service_manager_that_is_gone_is_said_once_and_ends_nothing(serve, project, address):
    served = serve(NOTIFY_SOCKET=address, WATCHDOG_USEC="100000").serving()
    project.run("pause", "daily")
    served.stop()
    warnings = [line for line in served.lines if line["event"] == "the service manager cannot be reached"]
    assert [line["NOTIFY_SOCKET"] for line in warnings] == [address]


def test_a_full_queue_of_the_service_manager_does_not_hold_the_daemon_up(tmp_path):
    receiver = Manager(str(tmp_path / "notify"), listens=False)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    heard = [control.notify("WATCHDOG=1", environ) for _ in range(2000)]
    receiver.close()
    assert heard[0]
    assert not heard[-1]


# -- health and metrics -----------------------------------------------------------------------------------------------


def test_health_speaks_of_a_home_without_a_daemon(project):
    told = project.json("health", code=1)
    assert [finding["subject"] for finding in told["findings"]] == ["daemon"]
    assert not (project.root / ".wfengine").exists()


def test_health_of_a_daemon_is_0_until_something_needs_mending(serve, project):
    """docs/operating.md, Health and metrics."""
    served = serve().serving()
    told = project.json("health")
    assert (told["ok"], told["facts"]["daemon"], told["facts"]["beat"]["jobs"]) == (True, served.pid, 1)
    assert "all is well" in project.run("health").stdout
    project.write("conf/bad.yml", "name: bad\ntasks: 3\n")
    served.signal(signal.SIGHUP)
    served.heard("broken job file; a last good version stays")
    found = _eventually_unhealthy(project)
    assert [finding["subject"] for finding in found["findings"]] == ["job file"]
    assert "bad.yml" in found["findings"][0]["message"]
    assert found["alive"]
    served.stop()
    assert [finding["subject"] for finding in project.json("health", code=1)["findings"]] == ["daemon"]
    assert not (project.root / ".wfengine" / "daemon.json").exists()


def _eventually_unhealthy(project):
    """Ask until what the daemon has just logged stands in what it tells, which is within the same turn."""
    for _ in range(50):
        told = project.json("health", code=None)
        if not told["ok"]:
            return told
    raise AssertionError(told)


def test_a_daemon_that_was_killed_is_not_taken_for_alive(serve, project):
    served = serve().serving()
    served.kill()
    told = project.json("health", code=1)
    assert (told["alive"], told["facts"]["daemon"]) == (False, None)


def test_a_daemon_serves_metrics_and_health_on_the_loopback_address(serve, project):
    pytest.importorskip("prometheus_client", reason="needs the extra metrics")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(project.root / "wfengine.toml", "a") as file:
        file.write(f"[metrics]\nport = {port}\n")
    served = serve().serving()
    project.run("trigger", "daily")
    served.heard("run_ended")
    text = _get(port, "/metrics")[1]
    assert re.search(r'^wfengine_runs_total\{job="daily",result="SUCCESS"\} 1\.0$', text, re.MULTILINE)
    assert 'wfengine_queue_length{job="daily"} 0.0' in text
    assert _get(port, "/healthz") == (200, '{"ok": true, "findings": []}')
    assert json.loads(_get(port, "/health")[1])["ok"] is True
    assert _get(port, "/")[0] == 404
    served.stop()
    assert _get(port, "/metrics")[0] == 0


def test_a_taken_port_ends_the_daemon_with_a_sentence(serve, project):
    pytest.importorskip("prometheus_client", reason="needs the extra metrics")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with open(project.root / "wfengine.toml", "a") as file:
            file.write(f"[metrics]\nport = {port}\n")
        assert f"port {port} in [metrics] of wfengine.toml cannot be served" in serve().ended(2)


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


# -- the unit ---------------------------------------------------------------------------------------------------------


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    # The command of the example is not installed here; one that is takes its place.
    command = tmp_path / "wfengine"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    copy = tmp_path / "wfengine.service"
    copy.write_text(UNIT.read_text().replace("/opt/wfengine/bin/wfengine", str(command)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_waits_as_long_as_the_daemon_may_take_to_end():
    kept = settings.FileSettings()
    assert unit()["KillMode"] == "mixed"
    assert int(unit()["TimeoutStopSec"]) >= kept.drain_seconds + kept.grace_seconds + 10


def test_the_watchdog_of_the_unit_is_slower_than_the_loop():
    assert unit()["Type"] == "notify"
    assert int(unit()["WatchdogSec"]) >= 3 * daemon.POLL_SECONDS


def test_the_unit_starts_again_only_where_that_can_help():
    assert unit()["Restart"] == "on-failure"
    prevented = {int(code) for code in unit()["RestartPreventExitStatus"].split()}
    assert prevented == {errors.UsageError.exit_code, errors.LockedError.exit_code}


def test_one_task_out_of_memory_does_not_end_the_unit():
    """docs/reliability.md, T10: systemd would otherwise stop the whole service."""
    assert unit()["OOMPolicy"] == "continue"


def test_the_commands_of_the_unit_and_of_the_container_exist():
    commands = [unit()["ExecStart"].split(), ["wfengine", *entrypoint()[1:], *command()], healthcheck()]
    for _, name, *arguments in commands:
        assert name in COMMANDS
        with cli.make_context("wfengine", ["--help"], resilient_parsing=True) as context:
            found = cli.get_command(context, name)
            assert found is not None
            found.make_context(name, list(arguments), parent=context).close()


# -- the container ----------------------------------------------------------------------------------------------------
# Whether it builds is not tested here: that takes a container engine and the network.


def instructions() -> list[tuple[str, str]]:
    """Read the file as a builder does: comments dropped, lines ending in a backslash joined, one word and the rest."""
    lines = [line for line in CONTAINER.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").split("\n")
    return [(word.upper(), " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in joined)]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(n for n, (word, _) in enumerate(found) if word == "FROM") :]


def value(word: str) -> str:
    """Return what the one instruction of that name says in the last stage."""
    (rest,) = (rest for name, rest in last_stage() if name == word)
    return rest


def entrypoint() -> list[str]:
    return json.loads(value("ENTRYPOINT"))


def command() -> list[str]:
    return json.loads(value("CMD"))


def healthcheck() -> list[str]:
    return json.loads(value("HEALTHCHECK").partition(" CMD ")[2])


def test_every_instruction_of_the_container_file_is_one():
    known = {
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "VOLUME",
        "USER",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    assert {word for word, _ in instructions()} <= known
    assert instructions()[0][0] == "FROM"


def test_the_container_runs_as_a_user_of_its_own_and_is_told_to_end_as_the_daemon_expects():
    words = [word for word, _ in last_stage()]
    assert "RUN" not in words[words.index("USER") :]
    assert int(value("USER")) >= 10_000
    assert f"--uid {value('USER')} " in value("RUN")
    assert signal.Signals[value("STOPSIGNAL")] in (signal.SIGTERM, signal.SIGINT)
    assert entrypoint()[:2] == ["wfengine", "daemon"]


def test_the_container_keeps_home_and_tables_on_volumes():
    volumes = json.loads(value("VOLUME"))
    home = dict(part.split("=", 1) for part in value("ENV").split())["WFENGINE_HOME"]
    assert volumes == [home, f"{value('WORKDIR')}/{settings.FileSettings().warehouse}"]
    assert all(f"{volume}" in value("RUN") for volume in volumes)


def test_the_container_is_asked_how_it_is():
    assert healthcheck() == ["wfengine", "health"]


def test_what_the_container_copies_and_installs_exists():
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    assert [name for names in copied for name in names if not (REPO / name).exists()] == []
    extras = re.search(r"whl\)\[([a-z,]+)\]", value("RUN"))
    assert extras is not None
    listed = re.findall(r"^([a-z]+) = \[", (REPO / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(extras[1].split(",")) <= set(listed)


def test_the_page_names_every_exit_code():
    page = (REPO / "docs" / "operating.md").read_text()
    codes = {kind.exit_code for _, kind in inspect.getmembers(errors, inspect.isclass) if hasattr(kind, "exit_code")}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} >= codes | {0, 130}
