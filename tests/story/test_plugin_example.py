"""The example plugin is a real distribution: installed with pip, it is usable at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from story.driver import REPO


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
         "--target", str(target), str(REPO / "conf" / "plugin-example")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(target)


def test_its_layer_is_a_task_kind_without_further_registration(project, installed):
    project.write("job.yml", "name: incoming\ntasks: [{task_key: check, freshness_task: {folder: raw, at_least: 1}}]\n")
    project.write("raw/a.csv", "x\n")
    assert "freshness" in project.run("plugins", PYTHONPATH=installed).stdout
    done = project.run("run-once", "job.yml", "--output", "json", PYTHONPATH=installed)
    assert json.loads(done.stdout)["tasks"][0]["wfengine"]["output"] == {"files": 1}
    assert "freshness" in project.run("validate", "job.yml", code=2).stderr


def test_its_notifier_hears_of_a_failure(project, installed):
    project.write("job.yml", "name: incoming\ntasks: [{task_key: check, freshness_task: {folder: raw, at_least: 1}}]\n")
    (project.root / "raw").mkdir()
    heard = project.root / "failures.jsonl"
    project.run("run-once", "job.yml", code=1, PYTHONPATH=installed, FAILURES_FILE=str(heard))
    assert [json.loads(line)["tasks"] for line in heard.read_text().splitlines()] == [["check"]]


def test_its_own_test_passes(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(REPO / "conf" / "plugin-example" / "tests"),
         "--rootdir", str(tmp_path), "-c", os.devnull],
        env={**os.environ, "PYTHONPATH": installed}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
