"""Control tasks, seen from the command line (docs/semantics.md, sections 5 and 6)."""

from __future__ import annotations

import os
import signal

import pytest
from story.daemons import Daemon
from story.driver import gone, results

TASKS = """\
import os, time
from pathlib import Path

def put(context):
    context.set_value("list", [{"n": 1}, {"n": 2}])

def show(**given):
    return given

def check(n):
    print("checking", n)
    if int(n) % 3 == 0:
        raise ValueError(f"{n} is divided by 3")

def rows():
    return {"rows": [{"day": "2024-01-05", "count": 7}]}

def wait(folder, n="0"):
    fd = os.open(Path(folder) / "started", os.O_WRONLY)
    os.write(fd, f"{os.getpid()} ".encode())
    os.close(fd)
    time.sleep(600)
"""


def test_a_condition_on_a_task_value_chooses_the_arm(project):
    project.write("tasks.py", TASKS)
    project.write("count.py", "# Databricks notebook source\ndbutils.jobs.taskValues.set('count', 12)\n")
    project.write(
        "job.yml",
        """
name: arms
tasks:
  - {task_key: count, notebook_task: {notebook_path: count.py}}
  - task_key: many
    depends_on: [count]
    condition_task: {op: GREATER_THAN, left: "{{tasks.count.values.count}}", right: "10"}
  - {task_key: full, depends_on: [{task_key: many, outcome: true}], shell_task: {command: ["true"]}}
  - {task_key: delta, depends_on: [{task_key: many, outcome: false}], shell_task: {command: ["true"]}}
  - {task_key: rows, python_task: {callable: "tasks:rows"}}
  - task_key: report
    depends_on: [full, delta, rows]
    python_task: {callable: "tasks:show", parameters: {day: "{{tasks.rows.output.first_row.day}}"}}
""",
    )
    run = project.json("run-once", "job.yml")
    assert results(run) == {
        "count": "SUCCESS", "many": "SUCCESS", "full": "SUCCESS", "delta": "EXCLUDED", "rows": "SUCCESS",
        "report": "SUCCESS",
    }  # fmt: skip
    many = next(task for task in run["tasks"] if task["task_key"] == "many")
    assert many["condition_task"]["outcome"] == "true"
    assert many["resolved_values"]["condition_task"]["left"] == "12"
    assert run["tasks"][-1]["wfengine"]["output"] == {"day": "2024-01-05"}


def test_a_loop_goes_over_the_task_value_of_a_function(project):
    """docs/semantics.md, section 5: values that are no text become JSON."""
    project.write("tasks.py", TASKS)
    project.write(
        "job.yml",
        """
name: values
tasks:
  - {task_key: put, python_task: {callable: "tasks:put"}}
  - task_key: loop
    depends_on: [put]
    for_each_task:
      inputs: "{{tasks.put.values.list}}"
      task: {task_key: one, python_task: {callable: "tasks:show", parameters: {n: "{{input.n}}", all: "{{input}}"}}}
""",
    )
    run = project.json("run-once", "job.yml")
    outputs = [one["wfengine"]["output"] for one in run["tasks"][1]["wfengine"]["iterations"]]
    assert outputs == [{"n": "1", "all": '{"n":1}'}, {"n": "2", "all": '{"n":2}'}]


LOOP = """
name: loop
parameters: {numbers: "[1, 2, 3, 4, 5, 6]"}
tasks:
  - task_key: each
    for_each_task:
      inputs: "{{job.parameters.numbers}}"
      concurrency: 2
      task: {task_key: each_one, python_task: {callable: "tasks:check", parameters: {n: "{{input}}"}}}
  - {task_key: after, depends_on: [each], run_if: ALL_DONE, shell_task: {command: ["true"]}}
"""


def test_iterations_are_counted_and_the_failed_ones_are_named_first(project):
    project.write("tasks.py", TASKS)
    project.write("job.yml", LOOP)
    done = project.run("run-once", "job.yml", code=0)
    assert "RUNNING 6 iterations" in done.stdout
    assert "4 of 6" in done.stdout
    shown = project.run("show", "1").stdout
    assert "each: 2 of 6 iterations did not succeed" in shown
    assert shown.index("each[2] FAILED: ValueError: 3 is divided by 3") < shown.index("each[5] FAILED")
    assert "checking 3" in project.run("logs", "1", "each", "--iteration", "2").stdout
    assert project.run("logs", "1", "each").stdout.count("checking") == 6


def test_the_official_client_reads_every_control_task(project):
    """docs/semantics.md, section 11."""
    from databricks.sdk.service.jobs import Run, RunResultState

    project.write("tasks.py", TASKS)
    project.write("job.yml", LOOP + '  - {task_key: other, run_job_task: {job_name: child, job_parameters: {x: "1"}}}\n'
                  '  - {task_key: c, condition_task: {op: EQUAL_TO, left: "1", right: "2"}}\n')  # fmt: skip
    project.write(
        "child.yml", "name: child\nparameters: {x: a}\ntasks: [{task_key: t, shell_task: {command: ['true']}}]\n"
    )
    document = project.json("run-once", "job.yml", code=0)
    run = Run.from_dict(document)
    tasks = {task.task_key: task for task in run.tasks}
    stats = tasks["each"].for_each_task.stats.task_run_stats
    assert (stats.total_iterations, stats.succeeded_iterations, stats.failed_iterations) == (6, 4, 2)
    assert tasks["each"].for_each_task.task.task_key == "each_one"
    assert tasks["each"].state.result_state is RunResultState.FAILED
    assert tasks["c"].condition_task.outcome == "false"
    assert tasks["other"].run_job_task.job_parameters == {"x": "1"}
    each = document["tasks"][0]
    assert len({one["run_id"] for one in each["wfengine"]["iterations"]} | {each["run_id"]}) == 7
    child = next(task for task in document["tasks"] if task["task_key"] == "other")["wfengine"]["run_job_output"][
        "run_id"
    ]
    read = Run.from_dict(project.json("show", str(child)))
    assert read.trigger.value == "RUN_JOB_TASK"
    assert read.trigger_info.run_id == tasks["other"].run_id


def test_a_bundle_starts_its_other_job_by_its_key(project):
    project.write(
        "databricks.yml",
        """
bundle: {name: b}
resources:
  jobs:
    top: {name: the top, tasks: [{task_key: go, run_job_task: {job_id: "${resources.jobs.below.id}"}}]}
    below: {name: the one below, tasks: [{task_key: t, shell_task: {command: ["true"]}}]}
""",
    )
    run = project.json("run-once", "databricks.yml", "--job", "top")
    assert results(run) == {"go": "SUCCESS"}
    assert run["tasks"][0]["wfengine"]["output"]["job_name"] == "the one below"


def test_jobs_that_start_each_other_are_refused_before_anything_runs(project):
    for name, other in (("a", "b"), ("b", "a")):
        project.write(
            f"{name}.yml", f"name: job_{name}\ntasks: [{{task_key: t, run_job_task: {{job_name: job_{other}}}}}]\n"
        )
    error = project.run("validate", "a.yml", code=2)
    assert "job_a -> job_b -> job_a" in error.stdout + error.stderr


def start_waiting(project, text):
    """Start a job that says through a pipe that it is running; returns the process and the task's pid."""
    project.write("tasks.py", TASKS)
    project.write("job.yml", text.format(root=project.root))
    os.mkfifo(project.root / "started")
    process = project.start("run-once", "job.yml", "--output", "json")
    return process, int((project.root / "started").read_text().split()[0])


@pytest.mark.faults
def test_kill_9_ends_parent_child_and_iterations(project):
    """docs/reliability.md, D1, T3."""
    project.write(
        "child.yml",
        f"""
name: child
tasks:
  - task_key: loop
    for_each_task:
      inputs: [1, 2, 3]
      task: {{task_key: one, python_task: {{callable: "tasks:wait", parameters: {{folder: "{project.root}"}}}}}}
""",
    )
    process, pid = start_waiting(project, "name: top\ntasks: [{{task_key: r, run_job_task: {{job_name: child}}}}]\n")
    process.kill()
    process.communicate(timeout=60)
    runs = project.json("runs")["runs"]
    assert [run["state"]["life_cycle_state"] for run in runs] == ["INTERNAL_ERROR", "INTERNAL_ERROR"]
    child = project.json("show", str(runs[0]["run_id"]))
    ended = [one["state"]["result_state"] for one in child["tasks"][0]["wfengine"]["iterations"]]
    assert ended == ["FAILED", "CANCELED", "CANCELED"]
    assert gone(pid)


def test_ctrl_c_cancels_parent_and_child(project):
    project.write(
        "child.yml",
        'name: child\ntasks: [{task_key: t, python_task: {callable: "tasks:wait", parameters: '
        f'{{folder: "{project.root}"}}}}}}]\n',
    )
    process, pid = start_waiting(project, "name: top\ntasks: [{{task_key: r, run_job_task: {{job_name: child}}}}]\n")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert gone(pid)
    assert [run["state"]["result_state"] for run in project.json("runs")["runs"]] == ["CANCELED", "CANCELED"]


def test_a_repair_runs_the_failed_iterations_alone(project):
    """docs/semantics.md, section 8: the iterations that succeeded stay as they are."""
    project.write("data.txt", "bad")
    project.write(
        "tasks.py",
        "def check(n):\n    open(f'ran-{n}', 'a').write('x')\n"
        "    if int(n) == 2 and open('data.txt').read() == 'bad':\n        raise ValueError('bad data')\n",
    )
    project.write("job.yml", LOOP)
    project.run("run-once", "job.yml")
    project.write("data.txt", "good")
    project.run("repair", "1", "--failed")
    run = project.json("show", "1")
    assert run["state"]["result_state"] == "SUCCESS"
    tried = {n: (project.root / f"ran-{n}").read_text() for n in range(1, 7)}
    assert tried == {1: "x", 2: "xx", 3: "x", 4: "x", 5: "x", 6: "x"}
    last = [task for task in run["tasks"] if task["task_key"] == "each"][-1]
    assert [(one["iteration"], one["attempt_number"]) for one in last["wfengine"]["iterations"]] == [
        (0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 0),
    ]  # fmt: skip


@pytest.mark.faults
def test_a_daemon_goes_on_with_parent_child_and_iterations_of_a_killed_one(project):
    """docs/reliability.md, D1: no second child, no finished iteration again."""
    project.write("conf/tasks.py", TASKS + "\ndef first(folder, n):\n    n == '2' and wait(folder)\n")
    call = f'{{callable: "tasks:first", parameters: {{folder: "{project.root}", n: "{{{{input}}}}"}}}}'
    project.write(
        "conf/child.yml",
        f"""
name: child
tasks:
  - task_key: loop
    for_each_task: {{inputs: [1, 2, 3], task: {{task_key: one, max_retries: 1, python_task: {call}}}}}
""",
    )
    project.write("conf/top.yml", "name: top\ntasks: [{task_key: r, run_job_task: {job_name: child}}]\n")
    os.mkfifo(project.root / "started")
    daemon = Daemon(project, "conf").serving()
    try:
        project.run("trigger", "top")
        (project.root / "started").read_text()
    finally:
        daemon.kill()
    project.write("conf/tasks.py", TASKS + "\ndef first(folder, n):\n    return n\n")
    daemon = Daemon(project, "conf").serving()
    try:
        daemon.heard("run_ended", job_name="top")
    finally:
        daemon.stop()
    runs = project.json("runs")["runs"]
    assert [(run["job_name"], run["state"]["result_state"]) for run in runs] == [
        ("child", "SUCCESS"), ("top", "SUCCESS"),
    ]  # fmt: skip
    child = project.json("show", str(runs[0]["run_id"]))
    assert [(one["iteration"], one["attempt_number"]) for one in child["tasks"][0]["wfengine"]["iterations"]] == [
        (0, 0), (1, 0), (1, 1), (2, 0),
    ]  # fmt: skip


def test_a_child_can_be_cancelled_from_another_process(project):
    project.write(
        "child.yml",
        'name: child\ntasks: [{task_key: t, python_task: {callable: "tasks:wait", parameters: '
        f'{{folder: "{project.root}"}}}}}}]\n',
    )
    process, _ = start_waiting(project, "name: top\ntasks: [{{task_key: r, run_job_task: {{job_name: child}}}}]\n")
    child = project.json("runs")["runs"][0]["run_id"]
    project.run("cancel", str(child))
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert results(project.json("show", "1")) == {"r": "CANCELED"}
