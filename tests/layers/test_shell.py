"""shell_task runs a program (docs/semantics.md, section 1)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wfengine.errors import TaskFailed
from wfengine.layer import TaskContext, TaskResult
from wfengine_layers.shell import ShellConfig, ShellLayer

ContextFor = Callable[..., TaskContext[Any]]


@pytest.fixture
def run(context_for: ContextFor) -> Callable[..., TaskResult]:
    """Run Python ``code`` as the program, or the command given."""

    def go(code: str = "", *, command: list[str] | str | None = None, **env: Any) -> TaskResult:
        return ShellLayer().run(context_for(ShellConfig(command=command or [sys.executable, "-c", code], env=env)))

    return go


def test_output_goes_to_the_attempts_log(run: Callable[..., TaskResult], capfd: pytest.CaptureFixture[str]) -> None:
    assert run("import sys; print('out'); print('err', file=sys.stderr)") == TaskResult()
    assert capfd.readouterr() == ("out\n", "err\n")


def test_a_failure_tells_the_exit_code_and_the_last_line_of_standard_error(run: Callable[..., TaskResult]) -> None:
    with pytest.raises(TaskFailed, match=r"ended with exit code 3: the reason$"):
        run("import sys; sys.stderr.write('noise\\nthe reason\\n\\n'); sys.exit(3)")


def test_a_failure_without_words_tells_the_exit_code(run: Callable[..., TaskResult]) -> None:
    with pytest.raises(TaskFailed, match=r"ended with exit code 1$"):
        run("raise SystemExit(1)")


def test_a_signal_is_named(run: Callable[..., TaskResult]) -> None:
    """docs/reliability.md, T10."""
    with pytest.raises(TaskFailed, match="was killed by SIGKILL"):
        run("import os; os.kill(os.getpid(), 9)")


def test_a_missing_program_is_named(run: Callable[..., TaskResult]) -> None:
    with pytest.raises(TaskFailed, match="no-such-program cannot be started"):
        run(command=["no-such-program"])


def test_standard_input_is_at_its_end(run: Callable[..., TaskResult]) -> None:
    """docs/reliability.md, T15."""
    assert run("import sys; assert sys.stdin.read() == ''") == TaskResult()


def test_it_runs_in_the_job_files_folder_with_its_environment(
    context_for: ContextFor, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import os; print(os.getcwd(), os.environ['A'], os.environ['FLAG'], 'PATH' in os.environ)"
    context = context_for(ShellConfig(command=[sys.executable, "-c", code], env={"A": "b c", "FLAG": True}))
    ShellLayer().run(context)
    assert capfd.readouterr().out == f"{context.base} b c true True\n"


@pytest.mark.parametrize("payload", ["; echo owned", "$(echo owned)", "`echo owned`", "| echo owned", "\n echo owned"])
def test_an_argument_is_never_read_by_a_shell(
    run: Callable[..., TaskResult], capfd: pytest.CaptureFixture[str], payload: str
) -> None:
    """docs/reliability.md, C13."""
    run(command=[sys.executable, "-c", "import sys; print(repr(sys.argv[1]))", payload])
    assert capfd.readouterr().out == f"{payload!r}\n"


def test_escapes_in_the_last_line_do_not_reach_the_message(run: Callable[..., TaskResult]) -> None:
    """docs/reliability.md, C16."""
    with pytest.raises(TaskFailed, match=r": \\x1b\[31mred$"):
        run("import sys; sys.exit('\\x1b[31mred')")


def test_a_shell_line_is_refused_with_a_hint(run: Callable[..., TaskResult], tmp_path: Path) -> None:
    """docs/reliability.md, C13."""
    config = msgspec.convert({"command": "ls -l | wc"}, ShellConfig)
    assert [(field, "list of arguments" in message) for field, message in ShellLayer.check(config, tmp_path)] == [
        ("command", True)
    ]
    with pytest.raises(TaskFailed, match="is a list of arguments"):
        run(command="ls -l | wc")


def test_an_empty_command_is_refused_by_its_type() -> None:
    with pytest.raises(msgspec.ValidationError, match="length >= 1"):
        msgspec.convert({"command": []}, ShellConfig)


def test_a_background_process_that_holds_standard_error_does_not_hold_the_task(
    run: Callable[..., TaskResult], tmp_path: Path
) -> None:
    """docs/reliability.md, T6."""
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(p.pid))"
    )
    try:
        assert run(code) == TaskResult()
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)
