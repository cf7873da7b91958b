"""What a job means, seen from the command line (docs/semantics.md, sections 2 to 5)."""

from __future__ import annotations

import json
import os
import signal

import pytest
from story.driver import gone, results

TASKS = """\
import os, sys, time
from pathlib import Path

def ok(**given):
    return given

def fail():
    print("about to fail")
    raise ValueError("the price list is empty")

def flaky(folder):
    tries = Path(folder) / "tries"
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    if len(tries.read_text()) < 3:
        raise RuntimeError(f"try {len(tries.read_text())}")

def wait(folder, seconds="600"):
    fd = os.open(Path(folder) / "started", os.O_WRONLY)
    os.write(fd, str(os.getpid()).encode())
    os.close(fd)
    time.sleep(float(seconds))

def clean(folder):
    (Path(folder) / "cleaned").touch()
"""


def test_a_failure_stops_everything_downstream_and_nothing_else(project):
    """docs/semantics.md, sections 2 and 3."""
    project.write("tasks.py", TASKS)
    project.write(
        "job.yml",
        """
name: failing
tasks:
  - {task_key: a, python_task: {callable: "tasks:ok"}}
  - {task_key: b, depends_on: [a], python_task: {callable: "tasks:fail"}}
  - {task_key: c, depends_on: [b], python_task: {callable: "tasks:ok"}}
  - {task_key: d, depends_on: [a], python_task: {callable: "tasks:ok"}}
  - {task_key: e, depends_on: [b], run_if: AT_LEAST_ONE_FAILED, python_task: {callable: "tasks:ok"}}
  - {task_key: f, depends_on: [d], run_if: ALL_FAILED, python_task: {callable: "tasks:ok"}}
""",
    )
    run = project.json("run-once", "job.yml", code=1)
    assert results(run) == {
        "a": "SUCCESS", "b": "FAILED", "c": "UPSTREAM_FAILED", "d": "SUCCESS", "e": "SUCCESS", "f": "EXCLUDED",
    }  # fmt: skip
    assert run["state"]["result_state"] == "FAILED"
    failed = next(task for task in run["tasks"] if task["task_key"] == "b")
    assert failed["wfengine"]["error"]["message"] == "ValueError: the price list is empty"
    assert "tasks.py:9" in failed["wfengine"]["error"]["where"]
    assert "start_time" not in next(task for task in run["tasks"] if task["task_key"] == "c")


def test_people_see_what_failed_where_and_what_it_blocked(project):
    project.write("tasks.py", TASKS)
    project.write(
        "job.yml",
        'name: failing\ntasks:\n  - {task_key: load, python_task: {callable: "tasks:fail"}}\n'
        '  - {task_key: report, depends_on: [load], python_task: {callable: "tasks:ok"}}\n',
    )
    done = project.run("run-once", "job.yml", code=1)
    assert "load FAILED at tasks.py:9: ValueError: the price list is empty" in done.stdout
    assert "not run because of that: report" in done.stdout
    assert "wfengine logs 1 load" in done.stdout
    assert "about to fail" in project.run("logs", "1", "load").stdout
    assert "FAILED" in project.run("runs").stdout
    assert "the price list is empty" in project.run("show", "1").stdout


def test_a_failed_task_is_retried_as_often_as_allowed(project):
    """docs/semantics.md, section 4; every attempt stays listed."""
    project.write("tasks.py", TASKS)
    project.write(
        "job.yml",
        f'name: flaky\ntasks: [{{task_key: t, max_retries: 2, python_task: {{callable: "tasks:flaky", '
        f'parameters: {{folder: "{project.root}"}}}}}}]\n',
    )
    run = project.json("run-once", "job.yml")
    assert [(task["attempt_number"], task["state"]["result_state"]) for task in run["tasks"]] == [
        (0, "FAILED"), (1, "FAILED"), (2, "SUCCESS"),
    ]  # fmt: skip
    assert len({task["run_id"] for task in run["tasks"]}) == 3


def test_a_task_that_takes_too_long_ends_timed_out(project):
    """docs/semantics.md, section 4: TIMEDOUT is final unless retry_on_timeout."""
    project.write(
        "job.yml",
        "name: slow\ntasks:\n  - {task_key: t, timeout_seconds: 1, max_retries: 3, shell_task: {command: [sleep, '600']}}\n"
        "  - {task_key: after, depends_on: [t], shell_task: {command: ['true']}}\n",
    )
    run = project.json("run-once", "job.yml", code=1)
    assert results(run) == {"t": "TIMEDOUT", "after": "UPSTREAM_FAILED"}
    assert len(run["tasks"]) == 2


def test_a_run_that_takes_too_long_ends_timed_out(project):
    project.write(
        "job.yml",
        "name: slow\ntimeout_seconds: 1\ntasks:\n  - {task_key: t, shell_task: {command: [sleep, '600']}}\n"
        "  - {task_key: after, depends_on: [t], run_if: ALL_DONE, shell_task: {command: ['true']}}\n",
    )
    run = project.json("run-once", "job.yml", code=1)
    assert run["state"]["result_state"] == "TIMEDOUT"
    assert results(run) == {"t": "TIMEDOUT", "after": "CANCELED"}


def start_waiting(project, extra=""):
    """Start a job whose first task says through a pipe that it is running; returns the process and the task's pid."""
    project.write("tasks.py", TASKS)
    project.write(
        "job.yml",
        f'name: waiting\ntasks:\n  - {{task_key: t, python_task: {{callable: "tasks:wait", parameters: '
        f'{{folder: "{project.root}"}}}}}}\n{extra}',
    )
    os.mkfifo(project.root / "started")
    process = project.start("run-once", "job.yml", "--output", "json")
    return process, int((project.root / "started").read_text())


def test_ctrl_c_cancels_the_run_and_clean_up_tasks_still_run(project):
    """docs/semantics.md, section 2: cancel spreads, tasks whose run_if handles failure still run."""
    process, pid = start_waiting(
        project,
        '  - {task_key: next, depends_on: [t], shell_task: {command: ["true"]}}\n'
        f'  - {{task_key: clean, depends_on: [t], run_if: ALL_DONE, python_task: {{callable: "tasks:clean", '
        f'parameters: {{folder: "{project.root}"}}}}}}\n',
    )
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    run = json.loads(out)
    assert results(run) == {"t": "CANCELED", "next": "UPSTREAM_CANCELED", "clean": "SUCCESS"}
    assert run["state"]["result_state"] == "CANCELED"
    assert gone(pid)
    assert (project.root / "cleaned").exists()


@pytest.mark.faults
def test_kill_9_leaves_no_process_and_the_next_command_ends_the_run(project):
    """docs/reliability.md, D1, T3: ended as what it was, nothing adopted, nothing left."""
    process, pid = start_waiting(project, '  - {task_key: next, depends_on: [t], shell_task: {command: ["true"]}}\n')
    process.kill()
    process.communicate(timeout=60)
    run = project.json("show", "1")
    assert run["state"]["life_cycle_state"] == "INTERNAL_ERROR"
    assert results(run) == {"t": "FAILED", "next": "UPSTREAM_FAILED"}
    assert run["tasks"][0]["wfengine"]["error"]["code"] == "EngineDied"
    assert gone(pid)


def test_a_run_that_is_alive_is_left_alone_by_other_commands(project):
    process, _ = start_waiting(project)
    run = project.json("show", "1")
    assert run["state"]["life_cycle_state"] == "RUNNING"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_the_same_idempotency_token_gives_back_the_same_run(project):
    """docs/semantics.md, section 8."""
    project.write("job.yml", "name: j\ntasks: [{task_key: t, shell_task: {command: ['true']}}]\n")
    first = project.json("run-once", "job.yml", "--idempotency-token", "day-1")
    second = project.json("run-once", "job.yml", "--idempotency-token", "day-1")
    assert second["run_id"] == first["run_id"]
    assert [run["run_id"] for run in project.json("runs")["runs"]] == [first["run_id"]]


def test_parameters_reach_tasks_by_precedence_and_references(project):
    """docs/semantics.md, section 5."""
    project.write("tasks.py", TASKS)
    project.write(
        "job.yml",
        """
name: parameters
parameters: {day: 2024-01-05, country: no}
tasks:
  - task_key: t
    python_task:
      callable: tasks:ok
      parameters: {day: unused, greeting: "{{job.name}} of {{job.parameters.country}}", raw: "{{job.parameters.raw}}"}
""".replace("country: no}", "country: no, raw: '{{job.id}}'}"),
    )
    run = project.json("run-once", "job.yml", "--param", "day=2024-02-29", "--param", "raw={{job.name}}")
    assert run["tasks"][0]["wfengine"]["output"] == {
        "day": "2024-02-29", "greeting": "parameters of no", "raw": "{{job.name}}",
    }  # fmt: skip
    assert {p["name"]: (p["default"], p["value"]) for p in run["job_parameters"]}["day"] == ("2024-01-05", "2024-02-29")


def test_only_runs_the_tasks_chosen(project):
    """docs/semantics.md, section 8: partial runs."""
    project.write(
        "job.yml",
        "name: j\ntasks:\n"
        + "".join(
            f"  - {{task_key: {key}, depends_on: {list(up)}, shell_task: {{command: ['true']}}}}\n".replace(
                "'a'", "a"
            ).replace("'b'", "b")
            for key, up in (("a", ""), ("b", "a"), ("c", "b"))
        ),
    )
    assert set(results(project.json("run-once", "job.yml", "--only", "+b"))) == {"a", "b"}
    assert "did you mean" in project.run("run-once", "job.yml", "--only", "bb", code=2).stderr


def test_the_official_client_reads_our_runs(project):
    """docs/semantics.md, section 11."""
    from databricks.sdk.service.jobs import Run, RunLifeCycleState, RunResultState

    project.write(
        "job.yml",
        "name: j\nparameters: {p: x}\ntasks:\n  - {task_key: a, shell_task: {command: ['false']}}\n"
        "  - {task_key: b, depends_on: [a], shell_task: {command: ['true']}}\n",
    )
    run = Run.from_dict(project.json("run-once", "job.yml", code=1))
    assert run.state.life_cycle_state is RunLifeCycleState.TERMINATED
    assert run.state.result_state is RunResultState.FAILED
    assert [task.state.result_state for task in run.tasks] == [RunResultState.FAILED, RunResultState.UPSTREAM_FAILED]
    assert run.job_parameters[0].value == "x"
    assert run.status.termination_details.code.value == "RUN_EXECUTION_ERROR"
    assert run.tasks[1].depends_on[0].task_key == "a"
