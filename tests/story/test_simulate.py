"""``wfengine simulate``: what would happen, from the command line (docs/schedules.md)."""

from __future__ import annotations

import re

import pytest
from story.driver import REPO

NIGHTLY = """\
name: nightly
schedule: {quartz_cron_expression: "0 30 2 * * ?", timezone_id: Europe/Berlin}
tasks:
  - {task_key: bronze, max_retries: 1, min_retry_interval_millis: 600000, shell_task: {command: ["false"]}}
  - {task_key: silver, depends_on: [bronze], shell_task: {command: ["false"]}}
"""
HOURLY = """\
name: hourly
queue: {enabled: true}
schedule: {cron: "0 * * * *"}
tasks: [{task_key: load, shell_task: {command: ["false"]}}]
"""


@pytest.fixture
def jobs(project):
    project.write("conf/nightly.yml", NIGHTLY)
    project.write("conf/hourly.yml", HOURLY)
    return project


def simulated(project, *arguments, start="2026-03-01", end="2026-04-01"):
    found = project.json("simulate", "conf", "--from", start, "--to", end, *arguments)
    return {job["job"]: job for job in found["jobs"]}


def test_a_month_of_two_jobs_is_told_in_a_table(jobs):
    out = jobs.run("simulate", "conf", "--from", "2026-03-01", "--to", "2026-04-01", "--duration", "load=40m").stdout
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    assert lines["hourly"][1:3] == ["744", "744"]
    assert lines["nightly"][1:] == ["31", "31", "0", "0", "0", "0", "0", "31", "SUCCESS"]
    assert "2026-03-29 the clocks of Europe/Berlin change; ticks on it: nightly 1 (03:00 in the gap: moved)" in out


def test_every_tick_and_every_run_is_in_the_document(jobs):
    nightly = simulated(jobs, start="2026-03-28", end="2026-03-30")["nightly"]
    assert [(tick["local"], tick["outcome"], tick["run"]) for tick in nightly["ticks"]] == [
        ("2026-03-28T02:30:00+01:00", "RUN", 1),
        ("2026-03-29T03:00:00+02:00", "RUN", 2),
    ]
    first, _ = nightly["runs"]
    assert (first["number"], first["result"]) == (1, "SUCCESS")
    assert first["tasks"] == {"bronze": "SUCCESS", "silver": "SUCCESS"}
    assert first["end"] - first["start"] == 120_000


def test_a_day_on_which_a_task_fails_and_a_day_on_which_its_retry_helps(jobs):
    """docs/semantics.md, section 4."""
    nightly = simulated(jobs, "--fail", "bronze@2026-03-29", "--fail", "nightly/bronze@2026-03-10#0")["nightly"]
    runs = {tick["local"][:10]: nightly["runs"][tick["run"] - 1] for tick in nightly["ticks"]}
    assert runs["2026-03-29"]["tasks"] == {"bronze": "FAILED", "silver": "UPSTREAM_FAILED"}
    assert runs["2026-03-10"]["result"] == "SUCCESS"
    assert runs["2026-03-10"]["attempts"] == {"bronze": 2}
    assert nightly["results"] == {"SUCCESS": 30, "FAILED": 1}


def test_a_queue_that_grows_is_seen_before_it_happens(jobs):
    """docs/semantics.md, section 7."""
    hourly = simulated(jobs, "--duration", "hourly/load=1h30m", end="2026-03-02")["hourly"]
    assert (hourly["due"], hourly["started"], hourly["queued"]) == (24, 16, 23)
    assert hourly["longest_queue"] == 8


def test_the_moments_are_read_in_the_zone_that_is_given(jobs):
    found = jobs.json("simulate", "conf", "--from", "2026-03-29", "--to", "2026-03-30", "--timezone", "Europe/Berlin")
    assert (found["to"] - found["from"]) // 3_600_000 == 23
    assert {job["job"]: job["due"] for job in found["jobs"]} == {"hourly": 23, "nightly": 1}


def test_nothing_is_run_and_nothing_is_written(jobs):
    before = sorted(jobs.root.rglob("*"))
    simulated(jobs, end="2026-03-03")
    assert sorted(jobs.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fail", "bronce"], "did you mean 'bronze'"),
        (["--fail", "bronze@2026-02-30"], "write task, task@2026-03-29"),
        (["--fail", "bronze@soon"], "write task, task@2026-03-29"),
        (["--duration", "nightly/silber=5m"], "did you mean 'nightly/silver'"),
        (["--duration", "silver=5"], "90s, 5m or 1h30m"),
        (["--duration", "silver=5 minutes"], "90s, 5m or 1h30m"),
        (["--duration", "silver"], "write --duration name=value"),
        (["--timezone", "Europe/Berlim"], "did you mean 'Europe/Berlin'"),
        (["--to", "2026-03-01"], "should be later than --from"),
        (["--to", "tomorrow"], "write a time as 2026-03-29"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_with_what_to_write(jobs, arguments, said):
    done = jobs.run("simulate", "conf", "--from", "2026-03-01", "--to", "2026-03-02", *arguments, code=2)
    assert said in done.stderr
    assert done.stdout == ""


def test_a_broken_file_among_good_ones_is_named_with_its_fault(jobs):
    jobs.write("conf/broken.yml", "name: broken\ntasks: [{task_key: a, shel_task: {}}]\n")
    done = jobs.run("simulate", "conf", "--from", "2026-03-01", "--to", "2026-03-02", code=2)
    assert "broken.yml:2" in done.stderr


def test_a_folder_without_jobs_is_a_sentence(jobs):
    jobs.write("empty/notes.txt", "nothing")
    done = jobs.run("simulate", "empty", "--from", "2026-03-01", "--to", "2026-03-02", code=2)
    assert "there is no job file in empty" in done.stderr


def test_the_example_of_the_page_prints_what_the_page_says(project):
    """docs/schedules.md, with the job of docs/testing.md."""
    (job,) = re.findall(r"```yaml\n(.*?)```", (REPO / "docs" / "testing.md").read_text(), re.S)
    project.write("conf/nightly.yml", job)
    page = (REPO / "docs" / "schedules.md").read_text()
    (command, shown), *_ = re.findall(r"```console\n\$ wfengine (simulate .*?)\n(.*?)```", page, re.S)
    out = project.run(*command.split()).stdout
    assert [line.rstrip() for line in out.splitlines()] == shown.splitlines()
