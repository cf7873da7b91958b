"""What attempts print and report: kept within limits, whatever they send."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest
from processes import Bench, peak_memory, supervisor_of

from wfengine.executor import ProcessExecutor, Report, ending
from wfengine.executor.caplog import CappedLog
from wfengine.executor.messages import decode_report, encode
from wfengine.states import Result


@pytest.mark.faults
def test_a_flood_of_output_keeps_head_and_tail_and_costs_no_memory(bench: Bench) -> None:
    """docs/reliability.md, T7: 100 MiB in one line; the supervisor grows by less than 16 MiB."""
    bench.start("wait", number=2)
    supervisor = supervisor_of(bench.message(2)["ready"])
    before = peak_memory(supervisor)
    bench.start("flood", payload={"mib": 100}, log_limit=1 << 20)
    report = bench.end()
    text = bench.log()
    assert (report.log_truncated, ending(report)) == (True, (Result.SUCCESS, None))
    assert text.startswith(b"first\nx")
    assert text.endswith(b"x\nlast\n")
    left_out = 100 * (1 << 20) + len(b"first\n\nlast\n") - (1 << 20)
    assert f"\n... {left_out} bytes left out ...\n".encode() in text
    assert len(text) < (1 << 20) + 100
    assert peak_memory(supervisor) - before < 16 * 1024
    assert sorted(path.name for path in (bench.folder / "logs").iterdir()) == ["1"]


@pytest.mark.faults
def test_messages_wait_in_the_child_while_nobody_listens_and_none_is_lost(bench: Bench) -> None:
    """docs/reliability.md, T7: 32 MiB of messages; the supervisor grows by less than 16 MiB."""
    bench.start("wait", number=2)
    supervisor = supervisor_of(bench.message(2)["ready"])
    before = peak_memory(supervisor)
    bench.start("chatter", payload={"count": 2000})
    child = bench.until(lambda report: report.kind == "started").pid
    until_blocked(child)
    report = bench.end()
    numbers = [each.message["number"] for each in bench.reports[1] if each.message]
    assert numbers == list(range(2000))
    assert ending(report) == (Result.SUCCESS, None)
    assert peak_memory(supervisor) - before < 16 * 1024


def until_blocked(pid: int | None) -> None:
    """Wait until the process has slept through 5,000 looks without waking, as a writer into a full pipe does."""
    last, same = "", 0
    while same < 5_000:
        status = Path(f"/proc/{pid}/status").read_text()
        switches = status[status.index("voluntary_ctxt_switches") :]
        same = same + 1 if "State:\tS" in status and switches == last else 0
        last = switches
        os.sched_yield()


@pytest.mark.faults
def test_an_attempt_that_cannot_be_started_fails_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/reliability.md, T9: here the supervisor may open 30 files."""
    (tmp_path / "few_files.py").write_text("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30))")
    monkeypatch.syspath_prepend(tmp_path)
    with ProcessExecutor(f"{tmp_path}:1", ["few_files"]) as executor:
        bench = Bench(executor, tmp_path)
        for number in range(20):
            bench.start("wait", number=number, heavy=True)
        error = ending(bench.end(19))[1]
        assert error is not None
        assert error.message.startswith("no process can be started: [Errno 24]")
        bench.executor.kill(0)
        assert bench.end(0).signal == signal.SIGKILL
        bench.start("succeed", number=20, heavy=True)
        assert ending(bench.end(20)) == (Result.SUCCESS, None)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 19, 20, 21, 25, 30, 31, 1000])
@pytest.mark.parametrize("step", [1, 3, 10, 1000])
def test_a_capped_log_keeps_both_ends_whatever_the_sizes(tmp_path: Path, size: int, step: int) -> None:
    data = bytes(number % 251 for number in range(size))
    log = CappedLog(tmp_path / "log", 20)
    for start in range(0, size, step):
        log.write(data[start : start + step])
    assert log.close() is (size > 20)
    if not size:
        # Most tasks print nothing, and then there is no file either.
        assert not (tmp_path / "log").exists()
        return
    marker = f"\n... {size - 20} bytes left out ...\n".encode()
    assert (tmp_path / "log").read_bytes() == (data if size <= 20 else data[:10] + marker + data[-10:])


def test_the_head_of_a_log_can_be_read_while_it_grows(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 1000)
    log.write(b"now")
    assert (tmp_path / "log").read_bytes() == b"now"
    log.close()


@pytest.mark.faults
@pytest.mark.parametrize("limit", [1_000, 60_000, 10_000_000])
def test_a_full_disk_shortens_the_log_and_says_so(tmp_path: Path, limit: int) -> None:
    """docs/reliability.md, D4: here the disk is a limit of 50,000 bytes a file; nothing is raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        log = CappedLog(tmp_path / "log", limit)
        for _ in range(100):
            log.write(b"x" * 1000)
        assert log.close() is True
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    text = (tmp_path / "log").read_bytes()
    assert text.startswith(b"xxx")
    assert b"bytes left out ..." in text
    assert len(text) <= 50_000


@pytest.mark.faults
def test_a_log_that_cannot_be_made_does_not_stop_the_task(bench: Bench) -> None:
    """docs/reliability.md, D4."""
    (bench.folder / "file").write_text("")
    bench.start("write", log=bench.folder / "file" / "log")
    report = bench.end()
    assert (report.log_truncated, ending(report)) == (True, (Result.SUCCESS, None))


def test_a_report_survives_its_way_as_json() -> None:
    report = Report(id=3, kind="message", message={"progress": {"done": 1, "total": None}})
    assert decode_report(encode(report)) == report
    assert json.loads(encode(report)) == {"id": 3, "kind": "message", "message": report.message}
