"""What people see of a for_each while it runs (docs/semantics.md, section 6)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from wfengine import events
from wfengine.cli.live import Lines, Screen
from wfengine.jobs import Job, Task
from wfengine.states import Result

WHO: dict[str, Any] = {"run_id": 1, "job_id": 1, "job_name": "j", "task_key": "loop"}
JOB = Job(name="j", tasks=(Task(task_key="loop", kind="for_each"),))


def told() -> list[events.AnyEvent]:
    """Return the events of a loop of three while its last iteration goes on."""
    found: list[events.AnyEvent] = [events.TaskStarted(time=0, task_run_id=2, iterations=3, **WHO)]
    found += [events.TaskStarted(time=1, task_run_id=3 + n, iteration=n, **WHO) for n in range(3)]
    for n, result in enumerate((Result.SUCCESS, Result.FAILED)):
        found += [events.TaskEnded(time=2, task_run_id=3 + n, attempt_number=0, iteration=n, result=result, **WHO)]
    return found


def test_the_table_counts_the_iterations_that_have_ended_in_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    active = SimpleNamespace(job=JOB, run=SimpleNamespace(run_id=1, job_name="j"), now_ms=lambda: 5)
    monkeypatch.setattr("rich.live.Live", _NoScreen)
    console = Console(width=100, record=True)
    with screen.showing(active):  # type: ignore[arg-type]
        for event in told():
            screen.take(event)
        console.print(screen._table())
    text = console.export_text()
    assert "RUNNING 2 of 3" in text
    assert sum("loop" in line for line in text.splitlines()) == 1


def test_lines_tell_of_the_loop_and_not_of_its_iterations(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for event in told():
        lines.take(event)
    assert capsys.readouterr().out == "00:00:00  loop      RUNNING 3 iterations\n"


class _NoScreen:
    def __init__(self, **options: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass
