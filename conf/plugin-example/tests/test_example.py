"""The plugin's own test: its layer is used through the engine, in a job file of two lines."""

from __future__ import annotations

import json

import wfengine_example

from wfengine import Engine

JOB = "name: incoming\ntasks: [{task_key: check, freshness_task: {folder: raw, at_least: 2}}]\n"


def test_the_layer_counts_files_and_the_notifier_tells_of_a_failure(tmp_path, monkeypatch):
    failures = tmp_path / "failures.jsonl"
    monkeypatch.setenv("FAILURES_FILE", str(failures))
    job = tmp_path / "job.yml"
    job.write_text(JOB)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").touch()
    engine = Engine(tmp_path / "home", plugins=[wfengine_example])

    failed = engine.run_once(job)
    assert failed.result == "FAILED"
    assert failed.latest()["check"].message == "raw holds 1 files like *.csv, not 2"
    assert [json.loads(line)["tasks"] for line in failures.read_text().splitlines()] == [["check"]]

    (tmp_path / "raw" / "b.csv").touch()
    run = engine.run_once(job)
    assert run.result == "SUCCESS"
    assert run.latest()["check"].values == {"newest": "b.csv"}
