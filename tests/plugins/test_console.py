"""The console notifier says what failed, what did not happen because of it, and where to look."""

from __future__ import annotations

import pytest

from wfengine.events import RunEnded, TaskEnded
from wfengine.runs import ErrorInfo
from wfengine.states import Result
from wfengine_plugins.console import Console

ABOUT = {"time": 1, "run_id": 12, "job_id": 1, "job_name": "daily"}


def task_ended(key: str, result: Result, **changes: object) -> TaskEnded:
    return TaskEnded(**ABOUT, task_key=key, task_run_id=13, attempt_number=0, result=result, **changes)


def run_ended(result: Result = Result.FAILED, **changes: object) -> RunEnded:
    return RunEnded(**ABOUT, result=result, **changes)


def test_a_failed_run_is_told_with_its_cause_and_the_commands_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/semantics.md, section 9."""
    console = Console()
    error = ErrorInfo(message="while reading\nValueError: bad date", where="notebooks/load.py:12 (cell 3)")
    console.take(task_ended("bronze", Result.FAILED, error=error))
    console.take(task_ended("other", Result.SUCCESS))
    assert capsys.readouterr() == ("", "")
    console.take(run_ended(message="task bronze failed", failed_tasks=("bronze",), blocked_tasks=("silver", "gold")))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "run 12 of job daily ended FAILED: task bronze failed\n"
        "  bronze FAILED: ValueError: bad date (notebooks/load.py:12 (cell 3))\n"
        "  did not run: silver, gold\n"
        "  look: wfengine show 12\n"
        "        wfengine logs 12 bronze\n"
    )


@pytest.mark.parametrize("result", [Result.SUCCESS, Result.SUCCESS_WITH_FAILURES])
def test_a_run_that_counts_as_success_is_not_told(result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/semantics.md, section 3: SUCCESS_WITH_FAILURES notifies as success."""
    console = Console()
    console.take(task_ended("bronze", Result.FAILED))
    console.take(run_ended(result, failed_tasks=("bronze",)))
    assert capsys.readouterr() == ("", "")


def test_after_a_restart_only_what_is_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Console().take(run_ended(Result.TIMEDOUT, failed_tasks=("bronze",)))
    assert capsys.readouterr().err == (
        "run 12 of job daily ended TIMEDOUT\n"
        "  bronze failed\n"
        "  look: wfengine show 12\n"
        "        wfengine logs 12 bronze\n"
    )


def test_a_cancelled_run_without_failed_tasks_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    Console().take(run_ended(Result.CANCELED, blocked_tasks=("silver",)))
    assert capsys.readouterr().err == (
        "run 12 of job daily ended CANCELED\n  did not run: silver\n  look: wfengine show 12\n"
    )


def test_no_control_character_of_an_error_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/reliability.md, C16."""
    console = Console()
    console.take(task_ended("a", Result.FAILED, error=ErrorInfo(message="\x1b[31mred\r\x07\u202egnp.exe")))
    console.take(run_ended(message="two\nlines", failed_tasks=("a",)))
    err = capsys.readouterr().err
    assert all(character.isprintable() for line in err.split("\n") for character in line)
    assert "\\x1b[31mred\\r\\x07\\u202egnp.exe" in err
    assert "ended FAILED: two\\nlines\n" in err


def test_what_was_remembered_of_a_run_is_forgotten_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.take(task_ended("a", Result.FAILED, error=ErrorInfo(message="once")))
    console.take(run_ended(failed_tasks=("a",)))
    console.take(run_ended(failed_tasks=("a",)))
    assert capsys.readouterr().err.count("once") == 1
