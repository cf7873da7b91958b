"""The JSON Schema of job files says what the reader does, and so do the tables of the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import jsonschema
import msgspec
import pytest
import yaml

from wfengine.errors import JobFileError
from wfengine.jobfile import read, schema
from wfengine.jobfile.schema import field_table, ignored_table
from wfengine.jobfile.shapes import ConditionShape, ForEachShape, JobShape, RunJobShape, TaskShape
from wfengine.layer import Layer

DOCS = Path(__file__).parents[2] / "docs" / "job-files.md"


class Step(msgspec.Struct):
    sql: str


class LoadConfig(msgspec.Struct, kw_only=True):
    source: str
    rows: Annotated[int, msgspec.Meta(ge=0)] = 0
    mode: Literal["append", "full"] = "append"
    steps: list[Step | str] = []
    options: dict[str, str] = {}
    table: str = ""


class Load(Layer[LoadConfig]):
    name = "load"
    Config = LoadConfig

    def run(self, context):
        raise NotImplementedError


class OtherStep(Layer[Step]):
    name = "other"
    Config = Step

    def run(self, context):
        raise NotImplementedError


class ReportConfig(msgspec.Struct):
    notebook_path: str


class Report(Layer[ReportConfig]):
    name = "notebook"
    Config = ReportConfig

    def run(self, context):
        raise NotImplementedError


LAYERS = {"load": Load, "other": OtherStep, "notebook": Report}
SCHEMA = schema(LAYERS)
JOB = "name: j\ntasks: [{task_key: a, load_task: {source: x}}]\n"
GOOD = [
    JOB,
    "settings: {name: j, job_clusters: [], tasks: [{task_key: a, libraries: [], other_task: {sql: x}}]}\njob_id: 5\n",
    JOB + "parameters: {a: 1, b: no}\nschedule: {cron: 0 6 * * *}\nqueue: {enabled: true}\ntrigger: ~\n",
    JOB + "parameters: [{name: a, default: 1}, {name: b}]\nschedule: {quartz_cron_expression: 0 0 6 * * ?}\n",
    JOB + "trigger: {periodic: {interval: 1, unit: DAYS}, pause_status: PAUSED}\nrun_as: {user_name: me}\n",
    JOB + "webhook_notifications: {on_failure: [{id: x}]}\nhealth: {rules: []}\ntags: {a: b}\n",
    "name: j\ntasks: [{task_key: a, load_task: {source: x, rows: '{{job.id}}', steps: [a, {sql: b}], options: {a: 1}}}]\n",
    "name: j\ntasks: [{task_key: a, notebook_task: {notebook_path: x, warehouse_id: w, source: GIT}}]\n",
    "name: j\ntasks: [{task_key: a, expect: [{name: e, query: q}], run_if: ALL_DONE, other_task: {sql: x}}]\n",
    "name: j\ntasks: [{task_key: a, max_retries: -1, load_task: {source: x, mode: full}}]\n",
    "name: j\ntasks: [{task_key: a, other_task: {sql: x}}, {task_key: b, depends_on: [a], other_task: {sql: x}}]\n",
]
GOOD += [
    f"name: j\ntasks: [{{task_key: c, {each}}}]\n"
    for each in (
        "condition_task: {op: EQUAL_TO, left: 1, right: '{{job.id}}'}",
        "for_each_task: {inputs: [1, {a: b}], task: {task_key: i, load_task: {source: '{{input}}'}}}",
        "for_each_task: {inputs: '{{job.id}}', concurrency: 100, task: {task_key: i, other_task: {sql: x}}}",
        "run_job_task: {job_id: 5}",
        "run_job_task: {job_name: other, job_parameters: {a: 1}}",
    )
]
BAD = [
    "name: j\ntasks: [{task_key: a, other_task: {sql: x, source: GIT}}]\n",
    "name: j\n",
    "tasks: [{task_key: a, load_task: {source: x}}]\n",
    "name: j\ntasks: []\n",
    "settings: {name: j}\n",
    JOB + "nmae: x\n",
    JOB + "schedule: {cron: 0 6 * * *, quartz_cron_expression: 0 0 6 * * ?}\n",
    JOB + "trigger: {}\n",
    JOB + "max_concurrent_runs: many\n",
    JOB + "queue: {enabled: maybe}\n",
    "name: j\ntasks: [{task_key: a}]\n",
    "name: j\ntasks: [{load_task: {source: x}}]\n",
    "name: j\ntasks: [{task_key: a b, load_task: {source: x}}]\n",
    "name: j\ntasks: [{task_key: a, load_task: {}}]\n",
    "name: j\ntasks: [{task_key: a, load_task: {source: x, rows: -1}}]\n",
    "name: j\ntasks: [{task_key: a, load_task: {source: x, rows: one}}]\n",
    "name: j\ntasks: [{task_key: a, load_task: {source: x, mode: all}}]\n",
    "name: j\ntasks: [{task_key: a, load_task: {source: x, steps: [{sqll: b}]}}]\n",
    "name: j\ntasks: [{task_key: a, load_task: {source: x}, other_task: {sql: x}}]\n",
    "name: j\ntasks: [{task_key: a, foo_task: {}}]\n",
    "name: j\ntasks: [{task_key: a, run_if: all_done, load_task: {source: x}}]\n",
    "name: j\ntasks: [{task_key: a, max_retries: -2, load_task: {source: x}}]\n",
    "name: j\ntasks: [{task_key: a, expect: [{name: e, table: t}], load_task: {source: x}}]\n",
]
BAD += [
    f"name: j\ntasks: [{{task_key: c, {each}}}]\n"
    for each in (
        "condition_task: {op: EQUALS, left: 1, right: 2}",
        "condition_task: {op: EQUAL_TO, left: 1}",
        "for_each_task: {inputs: [1]}",
        "for_each_task: {inputs: [1], concurrency: 101, task: {task_key: i, other_task: {sql: x}}}",
        "for_each_task: {inputs: [1], task: {task_key: i}}",
        "run_job_task: {}",
        "run_job_task: {job_id: 5, job_name: other}",
    )
]


def valid(text):
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.load(text, Loader=yaml.CSafeLoader))


def readable(text, folder):
    path = folder / "job.yml"
    path.write_text(text)
    try:
        read(path, LAYERS, root=folder)
    except JobFileError:
        return False
    return True


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("text", GOOD)
def test_what_the_reader_takes_the_schema_allows(text, tmp_path):
    """docs/semantics.md, section 1: shorthand, Databricks' forms, fields without effect."""
    assert (readable(text, tmp_path), valid(text)) == (True, True)


@pytest.mark.parametrize("text", BAD)
def test_what_the_schema_forbids_the_reader_refuses(text, tmp_path):
    assert (readable(text, tmp_path), valid(text)) == (False, False)


def test_a_schema_without_layers_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema({}))
    kinds = [choice["required"] for choice in schema({})["$defs"]["TaskShape"]["oneOf"]]
    assert kinds == [["condition_task"], ["for_each_task"], ["run_job_task"]]


def test_each_kind_of_task_refers_to_the_config_of_its_layer():
    assert SCHEMA["$defs"]["TaskShape"]["properties"]["load_task"] == {"$ref": "#/$defs/layers/$defs/LoadConfig"}
    assert SCHEMA["$defs"]["layers"]["$defs"]["LoadConfig"]["required"] == ["source"]


@pytest.mark.parametrize(
    "table",
    [
        *map(field_table, (JobShape, TaskShape, ConditionShape, ForEachShape, RunJobShape)),
        ignored_table(),
    ],
    ids=["job", "task", "condition", "for_each", "run_job", "ignored"],
)
def test_the_tables_of_the_documentation_are_those_of_the_code(table):
    assert table in DOCS.read_text()


def test_the_example_of_the_documentation_is_a_job_file(tmp_path):
    text = DOCS.read_text().partition("```yaml\n")[2].partition("```")[0]
    path = tmp_path / "job.yml"
    path.write_text(text)
    job = read(path, {"bronze": Load, "notebook": Report}, root=tmp_path).job
    assert [(task.kind, task.upstreams) for task in job.tasks] == [("bronze", ()), ("notebook", ("load",))]
