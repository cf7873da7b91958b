"""Bad input: each a sentence with place and mend, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import sqlite3

import pytest

OK = "shell_task: {command: ['true']}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"name: j\ntasks:\n  - {{task_key: a, depends_on: [b], {OK}}}\n  - {{task_key: b, depends_on: [a], {OK}}}\n",
            "a -> b -> a",
        ),
        (
            f"name: j\ntasks: [{{task_key: load, {OK}}}, {{task_key: x, depends_on: [laod], {OK}}}]\n",
            "did you mean 'load'",
        ),
        (f"name: j\nname: k\ntasks: [{{task_key: a, {OK}}}]\n", "job.yml:2"),
        ("name: j\ntasks: [{task_key: a, bronse_task: {}}]\n", "did you mean 'bronze"),
        ("name: j\ntasks: [{task_key: a, shell_task: {command: ls}}]\n", "command"),
        (f"name: j\ntasks: [{{task_key: a, max_retries: many, {OK}}}]\n", "max_retries"),
        ("name: j\ntasks: [{task_key: a, silver_task: {input: b.e, table: s.e, mod: merge}}]\n", "did you mean 'mode'"),
        ("", "empty"),
    ],
    ids=[
        "cycle",
        "unknown task",
        "duplicate key",
        "unknown layer",
        "wrong type",
        "wrong number",
        "unknown field",
        "empty",
    ],
)
def test_a_bad_job_file_is_refused_with_place_and_mend(project, text, told):
    project.write("job.yml", text)
    for command in ("validate", "run-once"):
        done = project.run(command, "job.yml", code=2)
        assert "job.yml" in done.stderr
        assert told in done.stderr
    assert not (project.root / ".wfengine").exists()


def test_all_faults_come_at_once(project):
    project.write(
        "job.yml", f"name: j\ntasks:\n  - {{task_key: a, depend_on: [b], {OK}}}\n  - {{task_key: 'b c', {OK}}}\n"
    )
    faults = project.json("validate", "job.yml", code=2)["faults"]
    assert [fault["line"] for fault in faults] == [3, 4]


def test_a_missing_job_file_is_named(project):
    assert "nowhere.yml" in project.run("run-once", "nowhere.yml", code=2).stderr


def test_an_unknown_parameter_is_refused_with_the_one_meant(project):
    project.write("job.yml", f"name: j\nparameters: {{country: de}}\ntasks: [{{task_key: a, {OK}}}]\n")
    assert "did you mean 'country'" in project.run("run-once", "job.yml", "--param", "contry=fr", code=2).stderr


def test_an_unknown_run_is_a_sentence(project):
    assert "no run 7" in project.run("show", "7", code=2).stderr


def test_a_corrupt_state_is_refused_and_its_bytes_stay(project):
    """docs/reliability.md, D6."""
    project.write("job.yml", f"name: j\ntasks: [{{task_key: a, {OK}}}]\n")
    state = project.write(".wfengine/state.db", "this is no database, and was never one\n" * 100)
    before = state.read_bytes()
    assert "state.db" in project.run("run-once", "job.yml", code=3).stderr
    assert state.read_bytes() == before


def test_a_newer_state_is_refused_and_its_bytes_stay(project):
    """docs/reliability.md, D20."""
    project.write("job.yml", f"name: j\ntasks: [{{task_key: a, {OK}}}]\n")
    project.run("run-once", "job.yml")
    state = project.root / ".wfengine" / "state.db"
    with sqlite3.connect(state) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = state.read_bytes()
    assert "newer" in project.run("run-once", "job.yml", code=3).stderr
    assert state.read_bytes() == before


def test_a_home_that_cannot_be_written_is_a_sentence(project):
    project.write("job.yml", f"name: j\ntasks: [{{task_key: a, {OK}}}]\n")
    project.write("taken", "a file")
    done = project.run("run-once", "job.yml", "--home", str(project.root / "taken"), code=3)
    assert "taken" in done.stderr


def test_a_missing_source_fails_the_task_with_its_path(project):
    project.write("job.yml", "name: j\ntasks: [{task_key: a, bronze_task: {source: nowhere, table: b.e}}]\n")
    done = project.run("run-once", "job.yml", code=1)
    assert str(project.root / "nowhere") in done.stdout


def test_a_path_outside_the_project_is_refused(project):
    """docs/reliability.md, C12."""
    project.write(
        "job.yml",
        "name: j\ntasks: [{task_key: a, bronze_task: {source: ../../etc/passwd, format: text, table: b.e}}]\n",
    )
    done = project.run("run-once", "job.yml", code=None)
    assert done.returncode in (1, 2)
    assert "outside the project" in done.stdout + done.stderr


def test_a_misspelt_command_is_answered_with_the_one_meant(project):
    assert "did you mean 'run-once'" in project.run("run-onc", code=2).stderr
