"""Every block of the README runs as it stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from story.driver import REPO, Project

README = (REPO / "README.md").read_text()
BLOCKS = dict(re.findall(r"<!-- (\w+) -->\n```\w*\n(.*?)```", README, flags=re.S))

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A project as after cloning, with the commands of this environment on the PATH."""
    root = tmp_path_factory.mktemp("readme")
    shutil.copytree(REPO / "conf", root / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(root)
    commands = root / "bin"
    commands.mkdir()
    for name, command in (("wfengine", f"{sys.executable} -m wfengine.cli"), ("python", sys.executable)):
        (commands / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (commands / name).chmod(0o755)
    return project


def shell(project, script, cwd=None):
    environ = {**project.environ(), "PATH": f"{project.root / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=cwd or project.root, env=environ,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def without_install(block):
    """Take the parts of a command that come after the environment was made and filled."""
    steps = [step.strip() for step in block.strip().split("&&")]
    assert steps[0] == "python3 -m venv .venv"
    assert re.fullmatch(r"\.venv/bin/pip install -q (-e )?'\.\[(lakehouse|dev)\]'", steps[1])
    return [step.removeprefix(".venv/bin/") for step in steps[2:]]


def test_the_first_command_runs_the_main_job(clone):
    (command,) = without_install(BLOCKS["demo"])
    out = shell(clone, command)
    assert "gold.daily_sales" in out
    assert "SUCCESS" in out


def test_the_second_command_runs_the_tests():
    (command,) = without_install(BLOCKS["test"])
    assert command.split()[0] == "pytest"
    options = subprocess.run([sys.executable, "-m", "pytest", "--co", "-q", *command.split()[2:], str(Path(__file__))], cwd=REPO, capture_output=True, check=False)  # fmt: skip
    assert options.returncode == 0, options.stdout


def test_every_line_of_the_tour_runs(clone):
    for line in BLOCKS["tour"].strip().splitlines():
        command, _, comment = line.partition("#")
        assert comment.strip(), line
        assert shell(clone, command)


def test_the_project_of_init_runs(clone):
    assert "gold.revenue_by_day" in shell(clone, BLOCKS["init"])


def test_the_daemon_serves(clone):
    command = BLOCKS["serve"].strip().split()
    assert command[0] == "wfengine"
    process = clone.start(*command[1:], "--log", "json")
    try:
        said = next(line for line in process.stderr if '"serving"' in line)
        assert clone.json("status")["daemon"] == process.pid
        assert {job["name"] for job in clone.json("jobs")["jobs"]} >= {"medallion", "morning"}, said
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_the_python_block_runs(clone):
    (clone.root / "block.py").write_text(BLOCKS["python"])
    assert "SUCCESS" in shell(clone, "python block.py")


def test_the_job_file_is_valid(clone):
    clone.write("shop-example/job.yml", BLOCKS["job"])
    clone.write("shop-example/notebooks/report.py", "# Databricks notebook source\n")
    clone.write("shop-example/raw/orders.csv", "a\n")
    assert "is valid" in shell(clone, "wfengine validate shop-example/job.yml")


def test_every_page_that_the_readme_names_is_there():
    assert [name for name in re.findall(r"\]\((docs/[^)]+)\)", README) if not (REPO / name).exists()] == []
