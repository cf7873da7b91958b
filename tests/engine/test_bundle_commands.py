"""Bundles on the command line and through the engine (docs/semantics.md, section 1)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bundled import written
from click.testing import CliRunner

from wfengine import Engine
from wfengine.cli.check import explain, validate
from wfengine.errors import JobFileError

FILES = {
    "databricks.yml": """\
bundle: {name: shop}
include: [jobs/*.yml]
variables: {who: {default: you}}
targets:
  dev: {default: true, mode: development}
  prod: {variables: {who: prod}}
""",
    "jobs/hello.yml": """\
resources:
  jobs:
    hello:
      tasks:
        - task_key: say
          shell_task: {command: [echo, "hello ${var.who} from ${bundle.target}"]}
        - task_key: again
          depends_on: [{task_key: say}]
          shell_task: {command: [cat, hello.yml]}
    tables:
      name: all tables
      tasks:
        - task_key: dlt
          pipeline_task: {pipeline_id: "${resources.pipelines.p.id}"}
""",
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann")
    return written(tmp_path, FILES)


def validated(*args):
    return CliRunner().invoke(validate, [str(arg) for arg in args], standalone_mode=False)


def test_validate_lists_jobs_tasks_and_what_cannot_run_here_with_their_places(path):
    found = validated(path)
    assert found.return_value == 0
    assert (
        found.stdout.replace(f"{path.parent}/", "")
        == """\
databricks.yml: bundle 'shop', target 'dev', 2 jobs
hello  '[dev ann] hello'  jobs/hello.yml:3  can run
  say    shell_task  jobs/hello.yml:5
  again  shell_task  jobs/hello.yml:7
tables  '[dev ann] all tables'  jobs/hello.yml:10  cannot run here
  dlt  pipeline_task  jobs/hello.yml:13
  cannot run here: jobs/hello.yml:14:11: resources.jobs.tables.tasks[0].pipeline_task: pipeline_task is not supported yet: it needs a service of Databricks
"""
    )


def test_validate_tells_the_same_as_one_json_document(path):
    found = validated(path, "--output", "json", "-t", "prod")
    document = json.loads(found.stdout)
    assert (found.return_value, document["valid"], document["faults"], document["warnings"]) == (0, True, [], [])
    bundle = document["bundle"]
    assert (bundle["name"], bundle["target"]) == ("shop", "prod")
    assert [(job["key"], job["name"], job["line"], job["runs"]) for job in bundle["jobs"]] == [
        ("hello", "hello", 3, True),
        ("tables", "all tables", 10, False),
    ]
    hello, tables = bundle["jobs"]
    assert hello["job"]["tasks"][0]["config"] == {"command": ["echo", "hello prod from prod"]}
    assert [task["kind"] for task in tables["tasks"]] == ["pipeline"]
    assert [(fault["path"], fault["line"]) for fault in tables["cannot_run"]] == [(f"{path.parent}/jobs/hello.yml", 14)]


def test_validate_ends_with_2_and_every_fault_when_there_is_one(path):
    (path.parent / "jobs" / "bad.yml").write_text("resources: {jobs: {bad: {task: []}}}\n")
    found = validated(path, "--var", "woh=me")
    assert found.return_value == 2
    assert "bad  '[dev ann] bad'" in found.stdout
    assert "has 2 faults" in found.stdout
    assert "cannot run before the bundle's own faults are mended" in found.stdout
    told = found.stderr.replace(f"{path.parent}/", "").splitlines()
    assert [line.removeprefix("wfengine: ") for line in told] == [
        "databricks.yml: --var gives a value to 'woh', and there is no such variable (did you mean 'who'?)",
        "jobs/bad.yml:1:25: resources.jobs.bad.tasks: is missing",
        "jobs/bad.yml:1:26: resources.jobs.bad.task: is not a known field (did you mean 'tasks'?)",
    ]
    document = json.loads(validated(path, "--output", "json").stdout)
    assert (document["valid"], len(document["faults"])) == (False, 2)


def test_validate_of_one_job_checks_it_as_a_run_would(path):
    found = validated(path, "--job", "hello", "-t", "prod")
    assert (found.return_value, "job 'hello' with 2 tasks is valid" in found.stdout) == (0, True)
    with pytest.raises(JobFileError, match="pipeline_task is not supported yet"):
        raise validated(path, "--job", "tables").exception


def test_a_name_that_cannot_be_shown_is_escaped(path):
    """C10."""
    (path.parent / "jobs" / "odd.yml").write_text('resources: {jobs: {"a\\u202eb": {name: "x\\u202ey", tasks: []}}}\n')
    found = validated(path)
    assert found.return_value == 2
    assert "\u202e" not in found.stdout + found.stderr
    assert "a\\u202eb" in found.stdout


def test_explain_takes_a_job_of_a_bundle(path):
    found = CliRunner().invoke(explain, [str(path), "--job", "hello", "--output", "json"], standalone_mode=False)
    assert [task["task_key"] for task in json.loads(found.stdout)["tasks"]] == ["say", "again"]


def test_a_job_of_a_bundle_runs_from_its_own_folder(path):
    engine = Engine(path.parent / "home", project=path.parent)
    run = engine.run_once(path, job="hello", target="prod", variables={"who": "me"})
    assert (run.succeeded, engine.run(run.run_id)[1].name) == (True, "hello")
    assert engine.log_path(run.run_id, "say", 0).read_text() == "hello me from prod\n"
    assert "hello ${var.who}" in engine.log_path(run.run_id, "again", 0).read_text()


def test_the_example_of_the_page_loads_and_says_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann")
    page = (Path(__file__).parents[2] / "docs" / "bundles.md").read_text()
    files = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert sorted(files) == ["databricks.yml", "resources/daily.yml"]
    path = written(tmp_path, files)
    for name in ("src/load.py", "src/report.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# Databricks notebook source\n")
    engine = Engine(project=tmp_path)
    development, _ = engine.validate(path, job="daily")
    assert (development.name, development.schedule.pause_status) == ("[dev ann] daily", "PAUSED")
    assert development.tasks[0].config["base_parameters"] == {"catalog": "dev", "days": 7}
    production, _ = engine.validate(path, {"days": "30"}, job="daily", target="prod")
    assert (production.name, production.tasks[0].max_retries) == ("daily", 3)
    assert production.tasks[0].config["base_parameters"] == {"catalog": "main", "days": 30}
