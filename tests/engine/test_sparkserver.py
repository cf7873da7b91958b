"""The Spark server's life: it starts on a free port, tells how it ended, and dies with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import PATIENCE, wait_until_gone

from wfengine import sparkserver
from wfengine.errors import MissingExtraError, StateError
from wfengine.executor import sweep, tree
from wfengine.sparkserver import SparkServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SparkServer]:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "doubling.py").write_text("def double(x: int) -> int:\n    return 2 * x\n")
    env = {tree.MARKER: f"{tmp_path}:1"}
    server = SparkServer.start(
        tmp_path / "runs" / "spark.log", tmp_path / "project" / "warehouse", env=env, modules=[tmp_path / "modules"]
    )
    yield server
    server.stop()


CLIENT = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[2])
from pyspark.sql import SparkSession
from pyspark.sql.functions import udf
from doubling import double
spark = SparkSession.builder.remote(sys.argv[1]).getOrCreate()
print(spark.range(5).count(), spark.range(21, 22).select(udf(double, "long")("id")).collect()[0][0])
spark.stop()
"""


@pytest.mark.spark
def test_a_client_computes_on_the_server_with_modules_of_the_user(server: SparkServer, tmp_path: Path) -> None:
    """docs/architecture.md: one engine for all attempts; user functions run in the server."""
    assert server.url.startswith("sc://localhost:")
    command = [sys.executable, "-c", CLIENT, server.url, str(tmp_path / "modules")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.split() == ["5", "42"], done.stderr


@pytest.mark.spark
def test_the_server_works_beside_the_warehouse_and_logs_in_private(server: SparkServer, tmp_path: Path) -> None:
    assert Path(f"/proc/{server.pid}/cwd").resolve() == tmp_path / "project"
    assert (tmp_path / "runs" / "spark.log").stat().st_mode & 0o777 == 0o600
    environment = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
    assert {b"TZ=UTC", b"SAIL_SPARK__SESSION_TIMEOUT_SECS=604800"} <= set(environment)


@pytest.mark.spark
def test_a_stop_is_orderly(server: SparkServer) -> None:
    assert (server.alive(), server.exit_cause()) == (True, "")
    server.stop()
    assert (server.alive(), server.exit_cause()) == (False, "Spark server ended with exit code 0")


@pytest.mark.spark
@pytest.mark.faults
def test_a_killed_server_is_seen_and_its_signal_named(server: SparkServer) -> None:
    """docs/reliability.md, T16."""
    os.kill(server.pid, signal.SIGKILL)
    wait_until_gone(server.pid)
    assert (server.alive(), server.exit_cause()) == (False, "Spark server ended by signal 9")


@pytest.mark.spark
@pytest.mark.faults
def test_a_sweep_of_the_run_finds_the_server(server: SparkServer, tmp_path: Path) -> None:
    """docs/reliability.md, T4."""
    assert sweep(f"{tmp_path}:1") == 1
    wait_until_gone(server.pid)


OWNER = """
import sys
from pathlib import Path
from wfengine.sparkserver import SparkServer
server = SparkServer.start(Path(sys.argv[1], "spark.log"), Path(sys.argv[1], "warehouse"))
print(server.pid, sorted(name for name in sys.modules if name.partition(".")[0] in ("pysail", "pyspark")), flush=True)
sys.stdin.read()
"""


@pytest.mark.spark
@pytest.mark.faults
def test_the_server_dies_with_an_owner_killed_by_sigkill(tmp_path: Path) -> None:
    """docs/reliability.md, T4. The owner itself has loaded neither pysail nor pyspark."""
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, loaded = owner.stdout.readline().strip().split(" ", 1)
        owner.kill()
        wait_until_gone(int(pid))
    assert loaded == "[]"


def test_a_server_that_fails_tells_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = "import sys; [print(f'line {n}', file=sys.stderr) for n in range(30)]; sys.exit(7)"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(sparkserver, "_BOOT", boot)
    with pytest.raises(StateError) as caught:
        SparkServer.start(tmp_path / "spark.log", tmp_path / "warehouse")
    assert str(caught.value).startswith("the Spark server did not start: ended with exit code 7; the end of ")
    assert str(caught.value).endswith("line 28\nline 29")
    assert "line 9\n" not in str(caught.value)


@pytest.mark.parametrize("said", ["not a port", "1"])
def test_a_server_whose_port_does_not_answer_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(sparkserver, "_BOOT", f"print({said!r}, flush=True); import signal; signal.pause()")
    with pytest.raises(StateError, match="ended by signal 9"):
        SparkServer.start(tmp_path / "spark.log", tmp_path / "warehouse")


def test_a_missing_pysail_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysail", None)
    with pytest.raises(MissingExtraError, match=r"wfengine\[lakehouse\]"):
        SparkServer.start(tmp_path / "spark.log", tmp_path / "warehouse")
