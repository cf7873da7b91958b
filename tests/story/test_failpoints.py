"""The command dies at every commit, spawn and rename; the next command puts things right (docs/reliability.md, D1, T3)."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest
from story.driver import Project
from story.kills import survivors

from wfengine.app import Engine
from wfengine.failpoints import VARIABLE

pytestmark = pytest.mark.faults

JOB = """\
name: main
tasks:
  - {task_key: load, shell_task: {command: [sh, -c, 'echo {{job.run_id}} >> "$0"', "%(root)s/ran"]}}
  - task_key: each
    depends_on: [load]
    for_each_task:
      inputs: "[1, 2]"
      task: {task_key: one, python_task: {callable: "tasks:say", parameters: {text: "{{input}}"}}}
  - {task_key: fails, depends_on: [load], max_retries: 1, shell_task: {command: ["false"]}}
  - {task_key: clean, depends_on: [each, fails], run_if: ALL_DONE, shell_task: {command: ["true"]}}
"""

#: Failpoints in the process of the command, and at which times it dies there.
ENGINE = [
    *(f"store.before_commit:{time}" for time in (1, 2, 3, 5, 8)),
    *(f"store.after_commit:{time}" for time in (1, 2, 4, 7)),
    "executor.before_spawn",
    "executor.after_spawn",
]
#: Those in the process that forks the attempts; the command goes on, and the run has failed.
SUPERVISOR = ["attempt.before_fork", "attempt.after_fork:2"]
#: Those of attempts with Spark.
SPARK = ["sparkserver.before_spawn", "drop.before_rename", "undo.before_remove"]
NOTEBOOK = """\
spark.range(3).write.format("delta").saveAsTable("gone")
spark.sql("DROP TABLE gone")
spark.range(3).write.format("delta").saveAsTable("made")
raise ValueError("after all that")
"""
MIGRATIONS = ["store.before_migration", "store.after_migration:2", "store.before_migration:5"]


@pytest.fixture
def main(project: Project) -> Project:
    project.write("tasks.py", "def say(text):\n    return text\n")
    project.write("job.yml", JOB % {"root": project.root})
    return project


def home(project: Project) -> Path:
    return project.root / ".wfengine"


def dies(project: Project, failpoint: str, *arguments: str) -> None:
    done = project.run(*arguments, code=None, **{VARIABLE: failpoint})
    assert done.returncode == -signal.SIGKILL, f"{failpoint} was not reached: {done.stdout}{done.stderr}"


def is_sound(project: Project) -> None:
    """Whether the next command recovers, nothing breaks a rule, and no process is left."""
    runs = project.json("runs")["runs"]
    assert [run["state"]["life_cycle_state"] for run in runs if "result_state" not in run["state"]] == []
    assert [str(each) for each in Engine(home(project)).audit().breaks] == []
    assert survivors(home(project)) == 0


def test_a_run_that_dies_anywhere_is_ended_by_the_next_command_and_breaks_no_rule(main: Project) -> None:
    """docs/reliability.md, D1, T3."""
    for failpoint in ENGINE:
        dies(main, failpoint, "run-once", "job.yml")
        is_sound(main)
    last = main.run("run-once", "job.yml")
    assert "SUCCESS_WITH_FAILURES" in last.stdout
    is_sound(main)
    ran = (main.root / "ran").read_text().split()
    assert len(ran) == len(set(ran)), "a task was executed twice"


@pytest.mark.parametrize("failpoint", SUPERVISOR)
def test_a_supervisor_that_dies_fails_its_attempts_and_breaks_no_rule(main: Project, failpoint: str) -> None:
    """docs/reliability.md, T3."""
    main.run("run-once", "job.yml", code=None, **{VARIABLE: failpoint})
    is_sound(main)
    assert any(
        "supervises the attempts died" in attempt.message
        for run in Engine(home(main)).runs()
        for attempt in run.attempts
    )


def test_a_schema_that_is_half_brought_up_to_date_is_brought_up_by_the_next_command(main: Project) -> None:
    """docs/reliability.md, D1, D20."""
    for number, failpoint in enumerate(MIGRATIONS):
        where = main.root / f"home{number}"
        dies(main, failpoint, "run-once", "job.yml", "--home", str(where))
        main.run("run-once", "job.yml", "--home", str(where))
        assert Engine(where).audit().breaks == ()


def test_a_backup_and_a_restore_that_die_leave_the_old_state_or_the_new(main: Project) -> None:
    """docs/reliability.md, D1."""
    main.run("run-once", "job.yml")
    dies(main, "backup.before_rename", "backup", "cut")
    assert "there is no" in main.run("restore", "cut", code=2).stderr
    dies(main, "backup.after_rename", "backup", "whole")
    for count, failpoint in enumerate(("restore.before_rename", "restore.after_rename"), 2):
        main.run("run-once", "job.yml")
        dies(main, failpoint, "restore", "whole")
        is_sound(main)
        assert len(main.json("runs")["runs"]) == (count if failpoint == "restore.before_rename" else 1)


def test_a_prune_that_dies_goes_on_with_the_next_call(main: Project) -> None:
    """docs/reliability.md, D1."""
    for failpoint in ("prune.before_rows", "prune.after_rows", "prune.after_folder"):
        main.run("run-once", "job.yml")
        with sqlite3.connect(home(main) / "state.db") as state:
            state.execute("UPDATE runs SET end_time = 1")
        state.close()
        dies(main, failpoint, "prune", "--keep-days", "1")
        is_sound(main)
        main.run("prune", "--keep-days", "1")
        is_sound(main)
        assert main.json("runs")["runs"] == []
        assert list((home(main) / "runs").iterdir()) == []


@pytest.mark.spark
def test_a_run_with_tables_that_dies_anywhere_is_put_right_by_the_next(project: Project) -> None:
    """docs/reliability.md, D1, E1."""
    project.write("load.py", NOTEBOOK)
    project.write(
        "job.yml", "name: j\ntasks: [{task_key: t, on_failure: restore, notebook_task: {notebook_path: load}}]\n"
    )
    made = project.root / "warehouse" / "default" / "made" / "_delta_log"
    for failpoint in SPARK:
        project.run("run-once", "job.yml", code=None, **{VARIABLE: failpoint})
        is_sound(project)
        assert made.exists() == (failpoint == "undo.before_remove"), failpoint
    project.run("run-once", "job.yml", code=1)
    is_sound(project)
