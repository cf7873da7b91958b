"""How attempts are stopped, and that neither they nor the death of a parent leaves a process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import PATIENCE, Bench, supervisor_of, wait_until_gone

from wfengine.executor import ProcessExecutor, ending, sweep, tree
from wfengine.states import Result


@pytest.mark.faults
def test_a_stop_ends_a_child_by_sigterm(bench: Bench) -> None:
    """docs/reliability.md, T1."""
    bench.start("wait")
    bench.message()
    bench.executor.stop(1, PATIENCE)
    report = bench.end()
    assert (report.signal, report.cause, report.record) == (signal.SIGTERM, "stopped", None)


@pytest.mark.faults
def test_a_stop_right_after_the_start_is_not_lost(bench: Bench) -> None:
    """docs/reliability.md, T1."""
    for number in range(20):
        bench.start("wait", number=number)
        bench.executor.stop(number, PATIENCE)
    assert {bench.end(number).signal for number in range(20)} == {signal.SIGTERM}


@pytest.mark.faults
def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(bench: Bench) -> None:
    """docs/reliability.md, T1 and T2."""
    bench.start("stubborn")
    bench.message()
    bench.executor.stop(1, 0.1)
    report = bench.end()
    assert (report.signal, report.cause) == (signal.SIGKILL, "stopped")


@pytest.mark.faults
def test_a_kill_does_not_ask(bench: Bench) -> None:
    """docs/reliability.md, T2."""
    bench.start("wait")
    bench.message()
    bench.executor.kill(1)
    assert bench.end().signal == signal.SIGKILL


def test_a_stop_of_an_unknown_or_ended_attempt_does_nothing(bench: Bench) -> None:
    bench.start("succeed")
    bench.executor.stop(7, 0)
    assert bench.end().exit_code == 0
    bench.executor.stop(1, 0)
    bench.start("succeed", number=2)
    assert ending(bench.end(2)) == (Result.SUCCESS, None)
    assert [report.kind for report in bench.reports[1]] == ["started", "ended"]


@pytest.mark.faults
@pytest.mark.parametrize("stay", [False, True])
def test_daemonised_grandchildren_do_not_outlive_their_attempt(bench: Bench, stay: bool) -> None:
    """docs/reliability.md, T3: double fork, setsid and deafness to SIGTERM save no process."""
    bench.start("daemonise", payload={"stay": stay})
    left = bench.message()["left"]
    if stay:
        bench.executor.stop(1, 0.1)
    report = bench.end()
    assert report.cause == ("stopped" if stay else "")
    wait_until_gone(*left)


@pytest.mark.faults
def test_the_grace_of_one_stop_delays_no_other_attempt(bench: Bench) -> None:
    """docs/reliability.md, T9: the stopped child is gone, its own child still has its grace."""
    bench.start("leave_orphan", number=1)
    left = bench.message(1)["left"]
    bench.executor.stop(1, 3600)
    bench.start("succeed", number=2)
    assert ending(bench.end(2)) == (Result.SUCCESS, None)
    assert [report for report in bench.reports[1] if report.kind == "ended"] == []
    bench.executor.kill(1)
    assert bench.end(1).signal == signal.SIGTERM
    wait_until_gone(left)


@pytest.mark.faults
def test_leftovers_of_one_attempt_are_killed_while_others_run_on(bench: Bench) -> None:
    """docs/reliability.md, T3."""
    bench.start("daemonise", number=1, payload={"stay": True})
    kept = bench.message(1)["left"]
    bench.start("daemonise", number=2)
    wait_until_gone(*bench.message(2)["left"])
    assert ending(bench.end(2)) == (Result.SUCCESS, None)
    assert tree.descendants([os.getpid()]) >= set(kept)


# --- deaths


ENGINE = """
import os, signal, sys
from pathlib import Path
from wfengine.executor import Launch, ProcessExecutor
folder = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
executor = ProcessExecutor(str(folder) + ":1")
executor.start(Launch(id=1, entry="entries:daemonise", payload={"stay": True}, log=folder / "log", cwd=folder))
executor.start(Launch(id=2, entry="entries:stubborn", log=folder / "log2", cwd=folder))
pids = []
while len(pids) < 4:
    for report in executor.poll(60):
        if report.message:
            pids += [report.message["ready"], *report.message.get("left", [])]
print(*pids, flush=True)
signal.pause()
"""


@pytest.mark.faults
def test_nothing_survives_an_engine_killed_by_sigkill(tmp_path: Path) -> None:
    """docs/reliability.md, T4."""
    command = [sys.executable, "-c", ENGINE, str(tmp_path), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        pids = [int(pid) for pid in engine.stdout.readline().split()]
        assert len(pids) == 4
        engine.kill()
        wait_until_gone(*pids)


@pytest.mark.faults
def test_a_killed_supervisor_loses_its_attempts_and_leaves_no_process(bench: Bench) -> None:
    """docs/reliability.md, T4: the loss is told, the orphans are swept, and the next start gets a new supervisor."""
    bench.start("daemonise", number=1, payload={"stay": True})
    bench.start("wait", number=2)
    bench.start("wait", number=3, heavy=True)
    message = bench.message(1)
    other = bench.message(2)["ready"]
    untouched = bench.message(3)["ready"]
    os.kill(supervisor_of(message["ready"]), signal.SIGKILL)
    for number in (1, 2):
        report = bench.end(number)
        assert (report.kind, report.cause) == ("lost", "supervisor died")
    wait_until_gone(message["ready"], other, *message["left"])
    bench.start("succeed", number=4)
    assert ending(bench.end(4)) == (Result.SUCCESS, None)
    bench.executor.stop(3, PATIENCE)
    assert bench.end(3).signal == signal.SIGTERM, f"{untouched} belongs to the other supervisor"


@pytest.mark.faults
def test_close_leaves_no_process(tmp_path: Path) -> None:
    """docs/reliability.md, T3."""
    with ProcessExecutor(f"{tmp_path}:1") as executor:
        bench = Bench(executor, tmp_path)
        bench.start("daemonise", payload={"stay": True})
        message = bench.message()
    wait_until_gone(message["ready"], *message["left"])


@pytest.mark.faults
def test_a_sweep_kills_exactly_the_processes_of_its_marker(tmp_path: Path) -> None:
    """docs/reliability.md, T4: recovery finds what an engine left behind; run 1 is not run 12."""
    marker = f"{tmp_path}:1"
    command = [sys.executable, "-c", "print(flush=True); import signal; signal.pause()"]
    processes = [
        subprocess.Popen(command, env={**os.environ, tree.MARKER: value}, stdout=subprocess.PIPE)
        for value in (marker, marker, f"{marker}2")
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        assert sweep(marker) == 2
        assert [process.wait(PATIENCE) for process in processes[:2]] == [-signal.SIGKILL] * 2
        assert processes[2].poll() is None
        assert sweep(marker) == 0
    finally:
        for process in processes:
            process.kill()
            process.communicate()


TWO = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.faults
@pytest.mark.parametrize("proc", [True, False])
def test_a_tree_is_killed_with_and_without_a_proc_file_system(proc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/reliability.md, T3: where there is no /proc, as on macOS, the process group stands for the tree."""
    monkeypatch.setattr(tree, "_HAS_PROC", proc)
    command = [sys.executable, "-c", TWO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        found = tree.signal_tree(process.pid, signal.SIGKILL)
        assert found == ({process.pid, child} if proc else {process.pid})
        assert process.wait(PATIENCE) == -signal.SIGKILL
        wait_until_gone(child)
    assert (tree.children() is None) is not proc
