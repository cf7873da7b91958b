"""Repair as a person meets it (docs/semantics.md, section 8)."""

from __future__ import annotations

import json
import os
import signal

import pytest
from story.daemons import Daemon, run
from story.driver import results

#: load -> clean -> report, and audit beside them; every task in a file of its own. ``ran`` counts.
FILES = {
    "load.py": "def do(folder):\n    open(f'{folder}/ran', 'a').write('load ')\n    return 1\n",
    "clean.py": "def do(folder):\n    open(f'{folder}/ran', 'a').write('clean ')\n    raise ValueError('no prices')\n",
    "report.py": "def do(folder, day='', count=''):\n    open(f'{folder}/ran', 'a').write('report ')\n    return [day, count]\n",
    "audit.py": "def do(folder):\n    open(f'{folder}/ran', 'a').write('audit ')\n",
}
FIXED = "def do(folder):\n    open(f'{folder}/ran', 'a').write('clean ')\n    return 2\n"


def task(project, key, *up, more=""):
    return (
        f"  - task_key: {key}\n    depends_on: [{', '.join(up)}]\n    python_task:\n"
        f'      callable: "{key}:do"\n      parameters: {{folder: "{project.root}"{more}}}\n'
    )


@pytest.fixture
def broken(project):
    """A project whose run 1 has failed at ``clean``."""
    for name, text in FILES.items():
        project.write(name, text)
    project.write(
        "job.yml",
        "name: daily\nparameters: {day: monday}\ntasks:\n"
        + task(project, "load")
        + task(project, "clean", "load")
        + task(project, "report", "clean", more=', day: x, count: "{{job.repair_count}}"')
        + task(project, "audit", "load"),
    )
    project.run("run-once", "job.yml", code=1)
    ran(project)
    return project


def ran(project) -> set[str]:
    """Return which tasks have run since the last call."""
    file = project.root / "ran"
    names = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    assert len(set(names)) == len(names)
    return set(names)


def planned(project, *arguments):
    found = project.json("repair", "1", "--plan", *arguments)
    return {task["task_key"]: task["reason"] for task in found["tasks"] if task["runs"]}


def test_a_fixed_file_is_repaired_by_running_just_what_needs_to(broken):
    broken.write("clean.py", FIXED)
    found = broken.json("repair", "1")
    assert ran(broken) == {"clean", "report"}
    assert results(found) == {"load": "SUCCESS", "clean": "SUCCESS", "report": "SUCCESS", "audit": "SUCCESS"}
    assert (found["run_id"], found["state"]["result_state"]) == (1, "SUCCESS")
    assert [(t["task_key"], t["attempt_number"], t["state"]["result_state"]) for t in found["tasks"]] == [
        ("load", 0, "SUCCESS"),
        ("clean", 0, "FAILED"),
        ("clean", 1, "SUCCESS"),
        ("report", 0, "UPSTREAM_FAILED"),
        ("report", 1, "SUCCESS"),
        ("audit", 0, "SUCCESS"),
    ]
    assert [item["type"] for item in found["repair_history"]] == ["ORIGINAL", "REPAIR"]
    assert found["tasks"][4]["wfengine"]["output"] == ["monday", "1"]


def test_the_plan_says_what_would_run_and_why_and_does_nothing(broken):
    assert planned(broken) == {
        "clean": "failed",
        "report": "did not run: upstream task clean failed (run_if ALL_SUCCESS)",
    }
    broken.write("audit.py", FILES["audit.py"] + "# better\n")
    assert planned(broken)["audit"] == "its code has changed"
    broken.write("load.py", FILES["load.py"] + "# better\n")
    assert planned(broken) == {
        "load": "its code has changed",
        "clean": "failed",
        "report": "did not run: upstream task clean failed (run_if ALL_SUCCESS)",
        "audit": "its code has changed",
    }
    assert set(planned(broken, "--failed")) == {"clean", "report"}
    assert set(planned(broken, "--task", "load", "--dependents")) == {"load", "clean", "report", "audit"}
    assert set(planned(broken, "--param", "day=tuesday")) == {"load", "clean", "report", "audit"}
    assert "did you mean 'clean'" in broken.run("repair", "1", "--plan", "--task", "clan", code=2).stderr
    assert "4 of 4 tasks run" in broken.run("repair", "1", "--plan").stdout
    assert ran(broken) == set()
    assert broken.json("show", "1")["wfengine"]["repair_count"] == 0


def test_a_repaired_run_can_be_repaired_again_with_other_parameters(broken):
    broken.json("repair", "1", code=1)
    assert ran(broken) == {"clean"}
    broken.write("clean.py", FIXED)
    found = broken.json("repair", "1", "--failed", "--param", "day=tuesday")
    assert ran(broken) == {"clean", "report"}
    assert [(i["type"], i["state"]["result_state"], len(i["task_run_ids"])) for i in found["repair_history"]] == [
        ("ORIGINAL", "FAILED", 4),
        ("REPAIR", "FAILED", 2),
        ("REPAIR", "SUCCESS", 2),
    ]
    assert found["tasks"][-2]["wfengine"]["output"] == ["tuesday", "2"]
    assert found["job_parameters"] == [{"name": "day", "default": "monday", "value": "tuesday"}]
    assert planned(broken)["load"] == "the job parameters have changed"


def test_a_run_in_which_nothing_is_wrong_needs_no_repair(broken):
    broken.write("clean.py", FIXED)
    broken.run("repair", "1")
    assert "needs no repair" in broken.run("repair", "1", code=2).stderr
    assert "has no parameter 'dya'" in broken.run("repair", "1", "--param", "dya=1", code=2).stderr
    assert "there is no run 77" in broken.run("repair", "77", code=2).stderr


def test_tasks_get_their_retries_anew(project):
    """docs/semantics.md, section 4."""
    project.write("job.yml", "name: j\ntasks: [{task_key: t, max_retries: 1, shell_task: {command: ['false']}}]\n")
    project.run("run-once", "job.yml", code=1)
    found = project.json("repair", "1", code=1)
    assert [task["attempt_number"] for task in found["tasks"]] == [0, 1, 2, 3]


def test_of_a_for_each_only_the_iterations_that_failed_run_again(project):
    """docs/semantics.md, section 6."""
    project.write(
        "job.yml",
        "name: j\ntasks:\n  - task_key: each\n    for_each_task:\n      inputs: [a, b, c]\n      task:\n        task_key: one\n"
        "        shell_task: {command: [sh, -c, 'echo $0 >> ran; test $0 != b || test -e mended', '{{input}}']}\n",
    )
    project.run("run-once", "job.yml", code=1)
    (project.root / "mended").touch()
    assert results(project.json("repair", "1")) == {"each": "SUCCESS"}
    assert (project.root / "ran").read_text().split() == ["a", "b", "c", "b"]


def test_a_partial_run_stays_partial(project):
    both = "name: j\ntasks:\n  - {task_key: a, shell_task: {command: ['%s']}}\n  - {task_key: b, shell_task: {command: ['true']}}\n"
    project.write("job.yml", both % "false")
    project.run("run-once", "job.yml", "--only", "a", code=1)
    project.write("job.yml", both % "true")
    assert results(project.json("repair", "1")) == {"a": "SUCCESS"}


@pytest.mark.faults
def test_a_run_whose_engine_died_is_repaired(project):
    """docs/reliability.md, D1."""
    project.write(
        "job.yml", "name: j\ntasks: [{task_key: t, shell_task: {command: [sh, -c, 'echo > started; sleep 600']}}]\n"
    )
    os.mkfifo(project.root / "started")
    process = project.start("run-once", "job.yml")
    (project.root / "started").read_text()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    project.write("job.yml", "name: j\ntasks: [{task_key: t, shell_task: {command: ['true']}}]\n")
    found = project.json("repair", "1")
    assert results(found) == {"t": "SUCCESS"}
    assert [item["status"]["termination_details"]["code"] for item in found["repair_history"]] == [
        "INTERNAL_ERROR",
        "SUCCESS",
    ]


def test_the_daemon_repairs_its_own_runs(project):
    project.write("conf/j.yml", "name: j\ntasks: [{task_key: t, shell_task: {command: ['false']}}]\n")
    daemon = Daemon(project, "conf").serving()
    try:
        number = json.loads(project.run("trigger", "j", "--output", "json").stdout)["run_id"]
        project.run("logs", str(number), "--follow")
        project.write("conf/j.yml", "name: j\ntasks: [{task_key: t, shell_task: {command: ['true']}}]\n")
        assert "the daemon repairs it" in project.run("repair", str(number)).stdout
        project.run("logs", str(number), "--follow")
        assert (run(project, number).result, run(project, number).repair_count) == ("SUCCESS", 1)
    finally:
        daemon.stop()


@pytest.mark.spark
def test_a_mended_layer_runs_alone_until_its_input_is_another(project):
    """By code hash and input version: rows are neither lost nor written twice."""
    pytest.importorskip("pysail", reason="needs the extra lakehouse")
    text = (
        "name: m\ntasks:\n"
        "  - {task_key: bronze, bronze_task: {source: raw, format: csv, table: bronze.t}}\n"
        "  - {task_key: silver, depends_on: [bronze], silver_task: {input: bronze.t, table: silver.t, columns: {k: string, n: int}, "
        "deduplicate: {keys: [k]}}}\n"
        "  - {task_key: gold, depends_on: [silver], gold_task: {input: silver.t, table: gold.t, query: 'SELECT sum(%s) AS n FROM t'}}\n"
    )
    project.write("raw/1.csv", "k,n\na,1\nb,2\n")
    project.write("job.yml", text % "m")
    assert results(project.json("run-once", "job.yml", code=1)) == {
        "bronze": "SUCCESS",
        "silver": "SUCCESS",
        "gold": "FAILED",
    }
    project.write("job.yml", text % "n")
    assert planned(project) == {"gold": "failed"}
    assert results(project.json("repair", "1"))["gold"] == "SUCCESS"
    assert planned(project) == {}
    project.write("raw/2.csv", "k,n\nc,3\n")
    project.run("run-once", "job.yml", "--only", "bronze")
    assert set(planned(project)) == {"silver", "gold"}
    assert planned(project)["silver"].startswith("its input bronze.t is at version ")
    found = project.json("repair", "1")
    assert [(t["task_key"], t["attempt_number"]) for t in found["tasks"]] == [
        ("bronze", 0), ("silver", 0), ("silver", 1), ("gold", 0), ("gold", 1), ("gold", 2),
    ]  # fmt: skip
    import deltalake

    assert deltalake.DeltaTable(project.root / "warehouse/gold/t").to_pyarrow_table().to_pylist() == [{"n": 6}]
