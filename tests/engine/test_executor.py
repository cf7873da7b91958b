"""Attempts in processes of their own: what they are given, and how each ending is told."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from processes import PATIENCE, Bench

from wfengine.executor import ProcessExecutor, Report, ending
from wfengine.executor.messages import LINE_LIMIT
from wfengine.runs import ErrorInfo
from wfengine.states import Result


def test_an_attempt_reports_its_start_and_its_record(bench: Bench) -> None:
    bench.start("succeed", payload={"a": [1, "two", None]})
    report = bench.end()
    kinds = [each.kind for each in bench.reports[1]]
    assert (kinds, report.exit_code, report.signal, report.cause) == (["started", "ended"], 0, None, "")
    assert report.record == {"status": "success", "output": {"a": [1, "two", None]}}
    assert ending(report) == (Result.SUCCESS, None)


def test_many_attempts_run_at_once_and_each_is_told_apart(bench: Bench) -> None:
    for number in range(50):
        bench.start("succeed", number=number, payload={"n": number})
    outputs = [(bench.end(number).record or {})["output"] for number in range(50)]
    assert outputs == [{"n": number} for number in range(50)]


@pytest.mark.faults
def test_a_child_sees_its_folder_and_environment_and_an_ended_stdin_and_no_foreign_descriptor(bench: Bench) -> None:
    """docs/reliability.md, T15: whoever reads stdin meets its end at once; locks and databases stay outside."""
    with (bench.folder / "owner.lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        bench.start("look", env={"GIVEN": "value"})
        seen = bench.message()
        bench.start("wait", number=2)
        bench.message(2)
        bench.start("look", number=3)
        crowded = bench.message(3)
    assert seen["cwd"] == str(bench.folder)
    assert (seen["stdin"], seen["variable"], seen["session"]) == ("", "value", True)
    assert seen["marker"] == f"{bench.folder}:1"
    # stdin, stdout and stderr on one pipe, and the pipe for messages.
    for descriptors in (seen["descriptors"], crowded["descriptors"]):
        assert len(descriptors) == 4
        assert len({name for name in descriptors if name.startswith("pipe:")}) == 2


def test_what_is_printed_goes_to_a_private_log_byte_for_byte(bench: Bench) -> None:
    bench.start("write")
    assert not bench.end().log_truncated
    assert bench.log() == b"to stdout\nto stderr\n\x00\xff\n"
    assert (bench.folder / "logs" / "1").stat().st_mode & 0o777 == 0o600


def test_an_exception_of_the_entry_fails_the_attempt_and_is_in_the_log(bench: Bench) -> None:
    assert bench.outcome("fail") == (Result.FAILED, ErrorInfo(message="ValueError: wrong"))
    assert b"ValueError: wrong" in bench.log()


def test_an_entry_that_cannot_be_found_fails_the_attempt(bench: Bench) -> None:
    result, error = bench.outcome("no_such_entry")
    assert result is Result.FAILED
    assert error is not None
    assert "no_such_entry" in error.message


def test_a_missing_working_folder_fails_the_attempt_and_is_named(bench: Bench) -> None:
    result, error = bench.outcome("succeed", cwd=bench.folder / "gone")
    assert result is Result.FAILED
    assert error is not None
    assert str(bench.folder / "gone") in error.message


def test_only_the_original_reports_when_an_entry_forks(bench: Bench) -> None:
    bench.start("fork_on")
    report = bench.end()
    started = bench.until(lambda each: each.kind == "started")
    assert (report.record or {})["output"] == started.pid


def test_a_preload_that_cannot_be_imported_harms_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("raise RuntimeError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    with ProcessExecutor(f"{tmp_path}:1", ["no_such_library", "broken_library"]) as executor:
        assert Bench(executor, tmp_path).outcome("succeed", heavy=True) == (Result.SUCCESS, None)


def test_a_wake_ends_a_poll_from_another_thread(bench: Bench) -> None:
    thread = threading.Thread(target=bench.executor.wake)
    thread.start()
    assert bench.executor.poll(PATIENCE) == []
    thread.join()
    bench.executor.wake()
    bench.executor.wake()
    assert bench.executor.poll(PATIENCE) == []
    assert bench.executor.poll(0) == []


# --- endings


@pytest.mark.faults
@pytest.mark.parametrize("entry", ["leave", "leave_politely"])
@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_without_a_record_is_a_failure_that_names_the_code(bench: Bench, entry: str, code: int) -> None:
    """docs/reliability.md, T9: success takes a completion record, whatever the exit code."""
    result, error = bench.outcome(entry, payload={"code": code})
    assert result is Result.FAILED
    assert error is not None
    assert error.code == "NoCompletionRecord"
    assert f"exit code {code} without a completion record" in error.message


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGTERM, signal.SIGBUS])
def test_death_by_a_signal_is_a_failure_that_names_it(bench: Bench, number: signal.Signals) -> None:
    """docs/reliability.md, T10."""
    result, error = bench.outcome("die", payload={"signal": int(number)})
    assert result is Result.FAILED
    assert error is not None
    assert (error.code, number.name in error.message) == ("Killed", True)


@pytest.mark.faults
def test_a_segmentation_fault_is_named(bench: Bench) -> None:
    """docs/reliability.md, T10."""
    _, error = bench.outcome("crash")
    assert error == ErrorInfo(message="the process was killed by SIGSEGV (invalid memory access)", code="Killed")


@pytest.mark.faults
def test_a_kill_from_outside_points_to_the_memory(bench: Bench) -> None:
    """docs/reliability.md, T10."""
    _, error = bench.outcome("die", payload={"signal": int(signal.SIGKILL)})
    assert error is not None
    assert error.message.endswith("which nobody here sent: often the kernel's out-of-memory killer")


COUNTING = """
import itertools
from wfengine.executor import attempt
counter = itertools.count(1_000_000_000)
attempt._oom_kills = lambda: next(counter)
"""


@pytest.mark.faults
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, "OutOfMemory"), (signal.SIGABRT, "Killed")])
def test_a_kill_while_the_kernel_kills_for_memory_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: str
) -> None:
    """docs/reliability.md, T10: here the kernel's counter grows each time it is read."""
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(tmp_path)
    with ProcessExecutor(f"{tmp_path}:1", ["counting"]) as executor:
        _, error = Bench(executor, tmp_path).outcome("die", heavy=True, payload={"signal": int(number)})
    assert error is not None
    assert error.code == code


def test_an_interrupted_child_dies_by_the_signal(bench: Bench) -> None:
    bench.start("interrupt")
    assert bench.end().signal == signal.SIGINT


@pytest.mark.faults
@pytest.mark.parametrize("size", [LINE_LIMIT + 1, 20 * LINE_LIMIT])
def test_a_record_that_is_too_large_fails_the_attempt(bench: Bench, size: int) -> None:
    """docs/reliability.md, T8."""
    result, error = bench.outcome("too_large", payload={"bytes": size})
    assert result is Result.FAILED
    assert error is not None
    assert "completion record cannot be sent" in error.message
    assert str(LINE_LIMIT) in error.message


@pytest.mark.faults
def test_a_record_just_below_the_limit_arrives_whole(bench: Bench) -> None:
    """docs/reliability.md, T8."""
    bench.start("too_large", payload={"bytes": LINE_LIMIT - 100})
    assert len((bench.end().record or {})["output"]) == LINE_LIMIT - 100


@pytest.mark.faults
def test_success_stands_when_a_thread_never_ends(bench: Bench) -> None:
    """docs/reliability.md, T6: the process is killed 5 s after its record."""
    bench.start("leak_thread")
    report = bench.end()
    assert report.cause == "lingered"
    assert ending(report) == (Result.SUCCESS, None)


def test_a_thread_that_ends_soon_may_finish_its_work(bench: Bench) -> None:
    assert bench.outcome("finish_thread") == (Result.SUCCESS, None)
    assert bench.log() == b"thread done\n"


def test_an_idle_thread_pool_and_exit_functions_end_as_in_any_interpreter(bench: Bench) -> None:
    bench.start("leave_pool")
    assert bench.end().cause == ""
    assert bench.log() == b"from the pool\ngoodbye\n"


@pytest.mark.parametrize(
    ("report", "code", "words"),
    [
        (Report(id=1, kind="lost", cause="supervisor died"), "EngineDied", "supervises the attempts died"),
        (Report(id=1, kind="ended", signal=9, cause="oom"), "OutOfMemory", "more memory"),
        (Report(id=1, kind="ended", signal=9, cause="stopped"), "Killed", "SIGKILL on request"),
        (Report(id=1, kind="ended", exit_code=4, record={"status": "success"}), "Killed", "exit code 4"),
        (Report(id=1, kind="ended", exit_code=0, record={"status": "failed"}), "NoCompletionRecord", "cannot be read"),
        (Report(id=1, kind="ended", exit_code=0, record={}), "NoCompletionRecord", "cannot be read"),
        (Report(id=1, kind="ended", signal=40), "Killed", "signal 40"),
    ],
)
def test_every_other_ending_has_words_of_its_own(report: Report, code: str, words: str) -> None:
    result, error = ending(report)
    assert result is Result.FAILED
    assert error is not None
    assert (error.code, words in error.message) == (code, True), error.message
