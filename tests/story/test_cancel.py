"""Runs and tasks cancelled from another process, and runs that wait for their turn (docs/semantics.md, sections 2 and 7)."""

from __future__ import annotations

import json
import os

import pytest
from story.daemons import Daemon
from story.driver import gone, results

TASKS = """\
import os, time
from pathlib import Path

def hold(folder, name):
    Path(folder, name).write_text(str(os.getpid()))
    time.sleep(600)

def ok():
    pass
"""


def hold(project, key, *up):
    """A task that writes its process id into a pipe and then sleeps."""
    os.mkfifo(project.root / key)
    return (
        f"  - task_key: {key}\n    depends_on: [{', '.join(up)}]\n    max_retries: 3\n    python_task:\n"
        f'      callable: "tasks:hold"\n      parameters: {{folder: "{project.root}", name: {key}}}\n'
    )


def quick(key, up, run_if="ALL_SUCCESS"):
    return f'  - {{task_key: {key}, depends_on: [{up}], run_if: {run_if}, python_task: {{callable: "tasks:ok"}}}}\n'


@pytest.fixture
def job(project):
    """Write a job of these tasks, and start it; returns the process and the ids of its tasks by key."""

    started = []

    def start(*tasks, held=("a",), head=""):
        project.write("tasks.py", TASKS)
        project.write("job.yml", f"name: j\n{head}tasks:\n" + "".join(tasks))
        (project.root / "wfengine.toml").write_text("grace_seconds = 2\nmax_tasks = 4\n")
        started.append(project.start("run-once", "job.yml", "--output", "json"))
        return started[-1], {key: int((project.root / key).read_text()) for key in held}

    yield start
    # Only a test that failed leaves one.
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def outcome(process, code):
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    return json.loads(out)


def test_a_run_of_another_process_is_cancelled_and_its_clean_up_runs(project, job):
    process, pids = job(hold(project, "a"), quick("b", "a"), quick("c", "a", "ALL_DONE"))
    assert "run 1 is being cancelled" in project.run("cancel", "1").stdout
    run = outcome(process, 1)
    assert run["state"]["result_state"] == "CANCELED"
    assert results(run) == {"a": "CANCELED", "b": "UPSTREAM_CANCELED", "c": "SUCCESS"}
    assert gone(pids["a"])
    assert "has ended already" in project.run("cancel", "1", code=2).stderr


def test_one_task_is_cancelled_and_the_run_goes_on(project, job):
    """It is not tried again, its downstream goes by the rules, what does not depend on it is left alone."""
    process, pids = job(
        hold(project, "a"), quick("b", "a"), quick("c", "a", "ALL_DONE"), hold(project, "d"), quick("e", "d"),
        held=("a", "d"),
    )  # fmt: skip
    assert "task e of run 1 is being cancelled" in project.run("cancel", "1", "e").stdout
    assert "task a of run 1 is being cancelled" in project.run("cancel", "1", "a").stdout
    assert "did you mean" in project.run("cancel", "1", "A", code=2).stderr
    os.kill(pids["d"], 9)
    int((project.root / "d").read_text())
    project.run("cancel", "1", "d")
    run = outcome(process, 1)
    assert results(run) == {"a": "CANCELED", "b": "UPSTREAM_CANCELED", "c": "SUCCESS", "d": "CANCELED", "e": "CANCELED"}
    assert [task["attempt_number"] for task in run["tasks"] if task["task_key"] == "a"] == [0]
    assert gone(pids["a"])


def test_a_task_of_the_daemon_is_cancelled(project):
    (project.root / "conf").mkdir()
    (project.root / "conf/tasks.py").write_text(TASKS)
    project.write("conf/j.yml", "name: j\ntasks:\n" + hold(project, "a") + quick("b", "a", "ALL_DONE"))
    daemon = Daemon(project, "conf").serving()
    try:
        number = str(project.json("trigger", "j")["run_id"])
        pid = int((project.root / "a").read_text())
        assert "is being cancelled" in project.run("cancel", number, "a").stdout
        project.run("logs", number, "--follow")
        assert results(project.json("show", number)) == {"a": "CANCELED", "b": "SUCCESS"}
        assert gone(pid)
    finally:
        daemon.stop()


def test_a_run_over_the_limit_is_not_started(project, job):
    process, _ = job(hold(project, "a"))
    done = project.run("run-once", "job.yml", code=1)
    assert "run 3 MAXIMUM_CONCURRENT_RUNS_REACHED" in done.stdout
    assert "1 of at most 1 runs of this job were active" in done.stdout
    project.run("cancel", "1")
    outcome(process, 1)


def test_a_run_waits_for_its_turn_where_the_job_has_a_queue(project, job):
    process, _ = job(hold(project, "a"), head="queue: {enabled: true}\n")
    second = project.start("run-once", "job.yml", "--output", "json")
    assert "run 3 waits for its turn: 1 of at most 1" in second.stderr.readline()
    assert project.json("show", "3")["state"]["life_cycle_state"] == "QUEUED"
    project.run("cancel", "1")
    outcome(process, 1)
    (project.root / "a").read_text()
    project.run("cancel", "3")
    assert results(outcome(second, 1)) == {"a": "CANCELED"}


def test_a_run_that_waits_can_be_cancelled(project, job):
    process, _ = job(hold(project, "a"), head="queue: {enabled: true}\n")
    second = project.start("run-once", "job.yml", "--output", "json")
    second.stderr.readline()
    project.run("cancel", "3")
    run = outcome(second, 1)
    assert (run["state"]["result_state"], results(run)) == ("CANCELED", {"a": "CANCELED"})
    project.run("cancel", "1")
    outcome(process, 1)
