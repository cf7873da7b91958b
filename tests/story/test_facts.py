"""What attempts did to tables is told without code, and undone where the job says so (docs/engines.md, Undo)."""

from __future__ import annotations

import os
import signal

import pytest
from story.driver import results

deltalake = pytest.importorskip("deltalake")
pytestmark = pytest.mark.spark

SEED = """\
spark.sql("CREATE SCHEMA IF NOT EXISTS s")
spark.range(5).selectExpr("id", "id * 2 AS v").write.mode("overwrite").saveAsTable("s.orders")
"""
#: Writes in two ways, then goes wrong as many times as the file ``failures`` says.
LOAD = """\
import os, pathlib
here = pathlib.Path.cwd()
spark.range(100, 103).selectExpr("id", "id AS v").write.mode("append").saveAsTable("s.orders")
spark.sql("MERGE INTO s.orders t USING (SELECT 0L id, 77L v) x ON t.id = x.id WHEN MATCHED THEN UPDATE SET *")
spark.range(2).write.mode("overwrite").saveAsTable("s.made")
tries = len(list(here.glob("try*")))
(here / f"try{tries}").touch()
if tries < int((here / "failures").read_text()):
    WRONG
"""
WRONG = {
    "raises": "raise ValueError('no price list')",
    "is killed": "os.kill(os.getpid(), 9)",
    "takes too long": "import time; time.sleep(600)",
}
JOB = """\
name: j
tasks:
  - {{task_key: seed, notebook_task: {{notebook_path: seed}}}}
  - {{task_key: load, depends_on: [seed], on_failure: restore, max_retries: {retries}, timeout_seconds: {timeout},
     retry_on_timeout: true, notebook_task: {{notebook_path: load}}}}
"""
SEEDED = [(number, number * 2) for number in range(5)]
LOADED = sorted([(0, 77), *SEEDED[1:], *((number, number) for number in range(100, 103))])


def rows(project, table="orders"):
    found = deltalake.DeltaTable(str(project.root / "warehouse" / "s" / table)).to_pyarrow_table().to_pylist()
    return sorted((row["id"], row.get("v")) for row in found)


def attempts(run, key):
    return [task["wfengine"] for task in run["tasks"] if task["task_key"] == key]


def tables(told):
    return {(fact["role"], fact["table"]): fact for fact in told["facts"]["tables"]}


def prepare(project, how, *, failures, retries=0, timeout=0):
    project.write("seed.py", SEED)
    project.write("load.py", LOAD.replace("WRONG", WRONG.get(how, how)))
    project.write("failures", str(failures))
    project.write("job.yml", JOB.format(retries=retries, timeout=timeout))


def test_a_notebook_shows_what_it_read_and_wrote(project):
    project.write("seed.py", SEED)
    project.write(
        "report.py",
        """\
orders = spark.table("s.orders")
orders.selectExpr("id", "v", "'new' AS state").write.mode("append").option("mergeSchema", "true").saveAsTable("s.report")
spark.sql("DELETE FROM s.report WHERE state IS NULL")
""",
    )
    project.write(
        "job.yml",
        """
name: j
tasks:
  - {task_key: seed, notebook_task: {notebook_path: seed}}
  - {task_key: first, depends_on: [seed], notebook_task: {notebook_path: first}}
  - {task_key: report, depends_on: [first], notebook_task: {notebook_path: report}}
""",
    )
    project.write("first.py", 'spark.range(1).selectExpr("id", "id AS v").write.saveAsTable("s.report")\n')
    run = project.json("run-once", "job.yml")
    (told,) = attempts(run, "report")
    found = tables(told)
    assert set(found) == {("input", "s.orders"), ("output", "s.report")}
    assert found["input", "s.orders"]["version_before"] == 0
    out = found["output", "s.report"]
    # The new column comes in a commit of its own.
    assert (out["version_before"], out["version_after"], out["rows"]) == (0, 3, 5)
    assert out["bytes"] > 0
    assert out["schema_changes"] == ["column state was added (string)"]
    assert told["facts"]["rows_written"] == 5
    shown = project.run("show", str(run["run_id"])).stdout
    assert "input s.orders version 0" in shown
    assert "output s.report version 0 -> 3, 5 rows, " in shown
    assert "column state was added (string)" in shown


@pytest.mark.parametrize("how", ["raises", "is killed"])
def test_a_failed_attempt_tells_what_it_had_written(project, how):
    prepare(project, how, failures=9)
    project.write("job.yml", JOB.format(retries=0, timeout=0).replace("on_failure: restore, ", ""))
    (told,) = attempts(project.json("run-once", "job.yml", code=1), "load")
    assert tables(told)["output", "s.orders"]["operation"] == "WRITE, MERGE"
    assert "undo" not in told["facts"]
    assert rows(project) == LOADED


@pytest.mark.parametrize(("how", "timeout"), [("raises", 0), ("is killed", 0), ("takes too long", 8)])
def test_a_failed_attempt_leaves_the_tables_as_they_were(project, how, timeout):
    """docs/reliability.md, E2; the last attempt of a task is undone like every other."""
    prepare(project, how, failures=9, timeout=timeout)
    project.write("job.yml", (project.root / "job.yml").read_text().replace("retry_on_timeout: true", "description: x"))
    run = project.json("run-once", "job.yml", code=1)
    (told,) = attempts(run, "load")
    assert told["facts"]["undo"] == (
        "undone: s.orders is again as in version 0, s.made is removed, as it did not exist before"
    )
    assert tables(told)["output", "s.orders"]["operation"] == "WRITE, MERGE"
    assert rows(project) == SEEDED
    assert not (project.root / "warehouse" / "s" / "made").exists()
    assert "undone: s.orders is again as in version 0" in project.run("show", str(run["run_id"])).stdout


@pytest.mark.parametrize(("how", "timeout"), [("raises", 0), ("is killed", 0), ("takes too long", 8)])
def test_the_retry_writes_once(project, how, timeout):
    prepare(project, how, failures=1, retries=1, timeout=timeout)
    run = project.json("run-once", "job.yml")
    assert ["undo" in told["facts"] for told in attempts(run, "load")] == [True, False]
    assert rows(project) == LOADED
    assert rows(project, "made") == [(0, None), (1, None)]


def test_a_cancelled_attempt_is_undone(project):
    prepare(project, "(here / 'fifo').write_text('x'); import time; time.sleep(600)", failures=9)
    os.mkfifo(project.root / "fifo")
    process = project.start("run-once", "job.yml")
    (project.root / "fifo").read_text()
    process.send_signal(signal.SIGINT)
    process.communicate()
    run = project.json("show", "1")
    (told,) = attempts(run, "load")
    assert told["facts"]["undo"].startswith("undone: s.orders is again as in version 0")
    assert rows(project) == SEEDED


def test_what_a_dead_engine_left_is_undone_before_the_next_attempt_begins(project):
    """docs/reliability.md, D1, E1: nobody was there to undo it right after the attempt."""
    prepare(project, "(here / 'fifo').write_text('x'); import time; time.sleep(600)", failures=1)
    os.mkfifo(project.root / "fifo")
    process = project.start("run-once", "job.yml")
    (project.root / "fifo").read_text()
    process.kill()
    process.communicate()
    assert rows(project) == LOADED
    run = project.json("repair", "1", "--failed")
    assert results(run)["load"] == "SUCCESS"
    *_, told = attempts(project.json("show", "1"), "load")
    assert told["facts"]["warnings"] == [
        "attempt 0: undone: s.orders is again as in version 0, s.made is removed, as it did not exist before"
    ]
    assert rows(project) == LOADED
    assert deltalake.DeltaTable(str(project.root / "warehouse" / "s" / "orders")).version() == 5


def test_a_foreign_commit_in_between_prevents_the_undo_with_a_sentence(project):
    foreign = "import deltalake; deltalake.DeltaTable(str(here / 'warehouse/s/orders')).delete('id = 1'); raise ValueError('x')"
    prepare(project, foreign, failures=9)
    run = project.json("run-once", "job.yml", code=1)
    (told,) = attempts(run, "load")
    assert told["facts"]["undo"].startswith("not undone: version 3 of s.orders (DELETE by delta-rs")
    assert told["facts"]["undo"].endswith("is not proved to be this attempt's own")
    assert rows(project) == sorted(set(LOADED) - {(1, 2)})
    assert rows(project, "made") == [(0, None), (1, None)]
    assert "not undone: version 3 of s.orders" in project.run("show", str(run["run_id"])).stdout


def test_a_bronze_table_and_its_ledger_agree_after_an_undo(project):
    """A batch that the ledger calls done and that was undone would be lost."""
    job = """
name: j
tasks:
  - task_key: bronze
    on_failure: restore
    bronze_task: {{source: in, table: bronze.sales}}
    expect: [{{name: enough, query: "SELECT count(*) AS n FROM bronze.sales HAVING n < {least}"}}]
"""
    project.write("in/1.csv", "id\n1\n2\n")
    project.write("job.yml", job.format(least=0))
    project.run("run-once", "job.yml")
    project.write("in/2.csv", "id\n3\nbro,ken\n")
    project.write("job.yml", job.format(least=99))
    (told,) = attempts(project.json("run-once", "job.yml", code=1), "bronze")
    assert told["facts"]["undo"] == (
        "undone: bronze.sales is again as in version 0, bronze.sales_quarantine is removed, as it did not exist before"
    )
    table = project.root / "warehouse" / "bronze" / "sales"
    ids = lambda: sorted(row["id"] for row in deltalake.DeltaTable(str(table)).to_pyarrow_table().to_pylist())  # noqa: E731
    assert ids() == ["1", "2"]
    project.write("job.yml", job.format(least=0))
    for _ in range(2):
        project.run("run-once", "job.yml")
    assert ids() == ["1", "2", "3"]
    rejects = deltalake.DeltaTable(str(table.with_name("sales_quarantine"))).to_pyarrow_table().to_pylist()
    assert [row["_record"] for row in rejects] == ["bro,ken"]


def test_on_failure_and_outputs_are_checked_when_the_file_is_read(project):
    project.write(
        "job.yml",
        """
name: j
tasks:
  - {task_key: a, on_failure: undo, shell_task: {command: [ls]}}
  - {task_key: b, outputs: ["s.{{job.parameters.nope}}"], shell_task: {command: [ls]}}
  - {task_key: c, on_failure: restore, condition_task: {op: EQUAL_TO, left: a, right: b}}
""",
    )
    said = project.run("validate", "job.yml", code=2).stderr
    assert "tasks[0].on_failure: should be one of restore" in said
    assert "tasks[1].outputs[0]: {{job.parameters.nope}}" in said
    assert "tasks[2].on_failure: a control task writes no table" in said


def test_a_declared_output_written_without_spark_is_told_and_undone(project):
    """docs/engines.md, "Without Spark"."""
    project.write("seed.py", SEED)
    project.write(
        "loading.py",
        """\
import os, deltalake, pyarrow
def load():
    stamp = deltalake.CommitProperties(custom_metadata={"userMetadata": os.environ["WFENGINE_STAMP"]})
    rows = pyarrow.table({"id": [9], "v": [9]})
    deltalake.write_deltalake("warehouse/s/orders", rows, mode="append", commit_properties=stamp)
    raise ValueError("no price list")
""",
    )
    project.write(
        "job.yml",
        """
name: j
tasks:
  - {task_key: seed, notebook_task: {notebook_path: seed}}
  - {task_key: load, depends_on: [seed], on_failure: restore, outputs: [s.orders], python_task: {callable: "loading:load"}}
""",
    )
    (told,) = attempts(project.json("run-once", "job.yml", code=1), "load")
    assert tables(told)["output", "s.orders"]["rows"] == 1
    assert told["facts"]["undo"] == "undone: s.orders is again as in version 0"
    assert rows(project) == SEEDED
