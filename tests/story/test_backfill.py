"""Backfill as a person meets it (docs/semantics.md, section 8)."""

from __future__ import annotations

import os
import signal

import pytest

TASKS = """\
from pathlib import Path

def do(folder, day, time):
    if Path(folder, "bad-" + day).exists():
        raise ValueError("no data of " + day)
    with open(Path(folder, "ran"), "a") as file:
        file.write(day + "\\n")
    return [day, time]

def wait(folder, day):
    Path(folder, "started-" + day).write_text(day)
    Path(folder, "go").read_text()
"""
RANGE = ("--from", "2026-01-01", "--to", "2026-01-03", "--step", "1d")


@pytest.fixture
def daily(project):
    project.write("tasks.py", TASKS)
    project.write(
        "job.yml",
        "name: daily\nmax_concurrent_runs: 2\ntasks:\n  - task_key: t\n    python_task:\n      callable: 'tasks:do'\n"
        f"      parameters: {{folder: '{project.root}', day: '{{{{backfill.iso_date}}}}', "
        "time: '{{backfill.iso_datetime}} {{job.trigger.time.iso_date}}'}\n",
    )
    return project


def ran(project):
    file = project.root / "ran"
    return file.read_text().split() if file.exists() else []


def test_one_run_for_each_step_and_none_twice(daily):
    found = daily.json("backfill", "job.yml", *RANGE)
    assert (found["succeeded"], found["failed"], found["not_begun"]) == (3, 0, 0)
    assert ran(daily) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    run = daily.json("show", str(found["steps"][1]["run_id"]))
    assert run["tasks"][0]["wfengine"]["output"] == ["2026-01-02", "2026-01-02T00:00:00.000Z 2026-01-02"]
    again = daily.json("backfill", "job.yml", "--from", "2026-01-02", "--to", "2026-01-04")
    assert [step["executed"] for step in again["steps"]] == [False, False, True]
    assert ran(daily) == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]


def test_people_see_a_line_for_each_run_and_a_summary(daily):
    (daily.root / "bad-2026-01-02").touch()
    done = daily.run("backfill", "job.yml", *RANGE, code=1)
    assert "2026-01-01T00:00:00Z  run 1  STARTED" in done.stdout
    assert "2026-01-02T00:00:00Z  run 3  FAILED" in done.stdout
    assert "daily: 2 of 3 steps succeeded, 1 did not, 0 were not begun" in done.stdout
    assert "wfengine show 3" in done.stdout


def test_it_stops_at_the_first_failure_and_repairs_it_when_asked_again(daily):
    (daily.root / "bad-2026-01-02").touch()
    first = daily.json("backfill", "job.yml", *RANGE, "--stop-on-failure", code=1)
    assert (first["succeeded"], first["failed"], first["not_begun"]) == (1, 1, 1)
    (daily.root / "bad-2026-01-02").unlink()
    second = daily.json("backfill", "job.yml", *RANGE, code=1)
    assert [step["result"] for step in second["steps"]] == ["SUCCESS", "FAILED", "SUCCESS"]
    third = daily.json("backfill", "job.yml", *RANGE, "--again")
    assert third["succeeded"] == 3
    assert sorted(ran(daily)) == ["2026-01-01", "2026-01-02", "2026-01-03"]
    failed = daily.json("show", str(first["steps"][1]["run_id"]))
    assert [item["type"] for item in failed["repair_history"]] == ["ORIGINAL", "REPAIR"]


def test_other_parameters_are_another_backfill(daily):
    text = (daily.root / "job.yml").read_text()
    daily.write("job.yml", "parameters: {p: x}\n" + text)
    daily.run("backfill", "job.yml", *RANGE)
    daily.run("backfill", "job.yml", *RANGE, "--param", "p=y")
    daily.run("backfill", "job.yml", *RANGE, "--param", "p=y")
    daily.run("backfill", "job.yml", *RANGE, "--name", "once more")
    assert len(ran(daily)) == 9


def held(project, *days):
    """Let the steps wait once they have said through a pipe that they run."""
    for name in ("go", *(f"started-{day}" for day in days)):
        os.mkfifo(project.root / name)
    text = (project.root / "job.yml").read_text()
    project.write("job.yml", text.replace("tasks:do", "tasks:wait").split(", time:")[0] + "}\n")


def begun(project, day):
    assert (project.root / f"started-{day}").read_text() == day


def test_runs_go_side_by_side_as_far_as_the_job_allows(daily):
    held(daily, "2026-01-01", "2026-01-02")
    (daily.root / "wfengine.toml").write_text("grace_seconds = 2\nmax_tasks = 4\n")
    process = daily.start("backfill", "job.yml", *RANGE, "--parallel", "3")
    begun(daily, "2026-01-01")
    begun(daily, "2026-01-02")
    assert "executed by another process" in daily.run("backfill", "job.yml", *RANGE, code=4).stderr
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "2 at a time: that is the job's max_concurrent_runs" in err
    assert "0 of 3 steps succeeded, 2 did not, 1 were not begun" in out


def test_one_run_of_it_is_cancelled_from_another_process(daily):
    held(daily, "2026-01-02")
    process = daily.start("backfill", "job.yml", "--from", "2026-01-02", "--to", "2026-01-02")
    begun(daily, "2026-01-02")
    assert "run 1 is being cancelled" in daily.run("cancel", "1").stdout
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "run 1  CANCELED" in out


@pytest.mark.faults
def test_a_killed_backfill_goes_on_where_it_was(daily):
    """docs/reliability.md, D1: no step is lost, and none that had succeeded runs twice."""
    text = (daily.root / "job.yml").read_text()
    daily.run("backfill", "job.yml", "--from", "2026-01-01", "--to", "2026-01-01")
    held(daily, "2026-01-02")
    process = daily.start("backfill", "job.yml", *RANGE)
    begun(daily, "2026-01-02")
    process.kill()
    process.communicate(timeout=60)
    daily.write("job.yml", text)
    assert daily.json("backfill", "job.yml", *RANGE)["succeeded"] == 3
    assert ran(daily) == ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_bad_ranges_are_refused(daily):
    assert "write 2026-01-31" in daily.run("backfill", "job.yml", "--from", "x", "--to", "2026-01-01", code=2).stderr
    wrong = ("--from", "2026-01-02", "--to", "2026-01-01")
    assert "ends before it starts" in daily.run("backfill", "job.yml", *wrong, code=2).stderr
