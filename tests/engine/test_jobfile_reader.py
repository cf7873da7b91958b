"""What a job file may say, and how each fault of it is told (docs/semantics.md, sections 1, 2, 4, 5, 7, 9, 10)."""

from __future__ import annotations

import gc
import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from wfengine.errors import JobFileError, TaskFailed
from wfengine.jobfile import convert_config, read
from wfengine.jobs import Dependency, Expectation, Parameter, Schedule
from wfengine.layer import Layer
from wfengine.states import RunIf


class Column(msgspec.Struct):
    type: str
    from_: str = msgspec.field(name="from", default="")


class ByRows(msgspec.Struct, tag="rows"):
    rows: int


class ByShare(msgspec.Struct, tag="share"):
    share: float


class FullConfig(msgspec.Struct, kw_only=True):
    text: str
    number: Annotated[int, msgspec.Meta(ge=1, lt=100)] = 1
    share: float = 0.5
    flag: bool = False
    mode: Literal["append", "full"] = "append"
    columns: dict[str, str | Column] = {}
    limit: int | str | None = None
    how: ByRows | ByShare | None = None
    pair: tuple[int, str] = (1, "a")
    names: Annotated[list[str], msgspec.Meta(max_length=2)] = []
    anything: Any = None
    parameters: dict[str, str] = {}
    day: date | None = None
    code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")] = "a"


class Full(Layer[FullConfig]):
    name = "full"
    Config = FullConfig

    def run(self, context):
        raise NotImplementedError

    @classmethod
    def check(cls, config, folder):
        if config.text == "raise":
            raise RuntimeError("broken plugin")
        return [("columns.b.type", f"no such type in {folder.name}")] if config.text == "bad" else []


class NotebookConfig(msgspec.Struct):
    notebook_path: str
    base_parameters: dict[str, str] = {}


class Notebook(Layer[NotebookConfig]):
    name = "notebook"
    Config = NotebookConfig

    def run(self, context):
        raise NotImplementedError


LAYERS = {"full": Full, "notebook": Notebook}


@pytest.fixture
def given(tmp_path):
    """Read a text as a job file."""

    def given(text, name="job.yml", layers=LAYERS, **more):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read(path, layers, root=tmp_path, **more)

    return given


@pytest.fixture
def faults(given):
    """Return the faults of a text that must be refused, each as line, field and message with hint."""

    def faults(text, **more):
        with pytest.raises(JobFileError) as caught:
            given(text, **more)
        return [
            (fault.line, fault.field, f"{fault.message} ({fault.hint})" if fault.hint else fault.message)
            for fault in caught.value.faults
        ]

    return faults


ONE = "name: j\ntasks:\n- task_key: a\n  full_task: {text: x}\n"


def task(lines, top="", key="a"):
    """A job with one task and further lines of it."""
    body = "".join(f"  {line}\n" for line in lines.splitlines())
    return f"name: j\n{top}tasks:\n- task_key: {key}\n{body}"


WHOLE = """\
name: nightly
description: all of it
parameters:
- {name: day, default: "{{job.trigger.time.iso_date}}"}
- name: region
timeout_seconds: 3600
max_concurrent_runs: 2
queue: {enabled: true}
schedule: {quartz_cron_expression: 0 0 6 * * ?, timezone_id: Europe/Rome, pause_status: PAUSED}
health: {rules: [{metric: RUN_DURATION_SECONDS, op: GREATER_THAN, value: 600}]}
email_notifications: {on_failure: [a@example.com], no_alert_for_skipped_runs: true}
notification_settings: {no_alert_for_canceled_runs: true}
tasks:
- task_key: bronze
  notebook_task: {notebook_path: ./bronze, base_parameters: {n: 1, day: "{{job.parameters.day}}"}}
  max_retries: -1
  min_retry_interval_millis: 1000
  retry_on_timeout: true
  timeout_seconds: 60
- task_key: silver
  description: second
  depends_on: [{task_key: bronze}]
  run_if: ALL_DONE
  disabled: true
  full_task: {text: "{{tasks.bronze.values.n}}", number: 5}
  expect: [{name: some, table: t, where: n > 0, on_fail: warn}, {name: none, query: SELECT 1}]
  notification_settings: {alert_on_last_attempt: true}
  health: {rules: []}
"""


def test_every_field_of_a_job_and_its_tasks_is_read(given, tmp_path):
    """docs/semantics.md, section 1."""
    job = given(WHOLE).job
    assert (job.name, job.description, job.timeout_seconds, job.max_concurrent_runs) == (
        "nightly",
        "all of it",
        3600,
        2,
    )
    assert job.parameters == (Parameter("day", "{{job.trigger.time.iso_date}}"), Parameter("region", ""))
    assert job.queue_enabled is True
    assert job.schedule == Schedule(
        quartz_cron_expression="0 0 6 * * ?", timezone_id="Europe/Rome", pause_status="PAUSED"
    )
    assert job.health["rules"][0]["value"] == 600
    assert job.email_notifications == {"on_failure": ["a@example.com"], "no_alert_for_skipped_runs": True}
    assert job.path == str(tmp_path / "job.yml")
    bronze, silver = job.tasks
    assert (bronze.kind, bronze.config) == (
        "notebook",
        {"notebook_path": "./bronze", "base_parameters": {"n": "1", "day": "{{job.parameters.day}}"}},
    )
    assert (bronze.max_retries, bronze.min_retry_interval_millis, bronze.retry_on_timeout) == (-1, 1000, True)
    assert (silver.depends_on, silver.run_if, silver.disabled) == ((Dependency("bronze"),), RunIf.ALL_DONE, True)
    assert silver.expect[0] == Expectation(name="some", table="t", where="n > 0", on_fail="warn")
    assert silver.notification_settings == {"alert_on_last_attempt": True}


def test_what_databricks_prints_for_a_job_is_read_and_what_has_no_effect_is_listed_once(given):
    """docs/semantics.md, section 1."""
    text = json.dumps({
        "job_id": 11, "created_time": 1, "creator_user_name": "me", "run_as_user_name": "me",
        "settings": {
            "name": "j", "format": "MULTI_TASK", "max_concurrent_runs": 1, "job_clusters": [{}], "tags": {},
            "run_as": {}, "webhook_notifications": {"on_failure": [{"id": "w"}]}, "email_notifications": {},
            "trigger": None,
            "tasks": [
                {"task_key": "a", "run_if": "ALL_SUCCESS", "libraries": [],
                 "notebook_task": {"notebook_path": "/x", "source": "WORKSPACE", "warehouse_id": "w"}},
                {"task_key": "b", "libraries": [], "environment_key": "e", "notebook_task": {"notebook_path": "/x"}},
            ],
        },
    }, indent="\t")  # fmt: skip
    found = given(text, name="job.json")
    assert found.job.ignored == (
        "job_id", "created_time", "creator_user_name", "run_as_user_name", "format", "job_clusters", "tags", "run_as",
        "webhook_notifications", "tasks[0].libraries", "tasks[0].notebook_task.source",
        "tasks[0].notebook_task.warehouse_id", "tasks[1].libraries", "tasks[1].environment_key",
    )  # fmt: skip
    (warning,) = found.warnings
    assert warning.line == 2
    assert "no effect here: job_id," in warning.message
    assert "libraries (2 times)" in warning.message
    assert found.job.webhook_notifications == {"on_failure": [{"id": "w"}]}
    assert found.job.tasks[0].config == {"notebook_path": "/x"}


def test_all_settings_of_the_official_client_are_known(given, faults):
    """docs/semantics.md, section 1: a field of the Jobs API is read, ignored or refused in words, never unknown."""
    jobs = pytest.importorskip("databricks.sdk.service.jobs")
    top = "".join(f"{name}:\n" for name in jobs.JobSettings.__dataclass_fields__ if name not in ("name", "tasks"))
    rest = "".join(
        f"{name}:\n"
        for name in jobs.Task.__dataclass_fields__
        if name not in ("task_key", "depends_on") and not name.endswith("_task")
    )
    messages = {message for _, _, message in faults(task(f"full_task: {{text: x}}\n{rest}", top=top))}
    assert messages == {"triggers is not supported yet: use trigger"}


@pytest.mark.parametrize("kind", ["pipeline", "dbt", "spark_jar", "spark_submit", "dashboard", "alert", "power_bi",
                                  "clean_rooms_notebook", "sql", "python_wheel"])  # fmt: skip
def test_a_kind_that_cannot_run_here_is_refused_in_one_sentence(faults, kind):
    """docs/semantics.md, sections 1 and 6."""
    ((line, field, message),) = faults(task(f"{kind}_task: {{x: 1}}"))
    assert (line, field) == (4, f"tasks[0].{kind}_task")
    assert message.startswith(f"{kind}_task is not supported yet")


def test_all_kinds_of_task_of_the_official_client_are_known(faults):
    jobs = pytest.importorskip("databricks.sdk.service.jobs")
    kinds = [name for name in jobs.Task.__dataclass_fields__ if name.endswith("_task") and name != "notebook_task"]
    for kind in kinds:
        known = ("spark_python_task", "condition_task", "for_each_task", "run_job_task")
        assert "not supported yet" in faults(task(f"{kind}: {{}}"))[0][2] or kind in known


def test_a_kind_that_no_plugin_brings_is_refused_with_a_suggestion(faults):
    assert faults(task("notebok_task: {}")) == [
        (4, "tasks[0].notebok_task", "no layer plugin named 'notebok' is loaded (did you mean 'notebook'?)")
    ]
    assert faults(task("zzz_task: {}"))[0][2].endswith("(loaded are full, notebook)")


def test_a_task_has_exactly_one_kind(faults):
    assert "needs a `<kind>_task`" in faults(task("disabled: true"))[0][2]
    assert "more than one kind: full_task, notebook_task" in faults(task("full_task: {}\nnotebook_task: {}"))[0][2]


def test_shorthand_means_the_same_as_the_long_form(given):
    """docs/semantics.md, section 1."""
    long = given(
        "name: j\nparameters: [{name: a, default: '1'}]\ntasks:\n- {task_key: x, full_task: {text: x}}\n"
        "- {task_key: y, depends_on: [{task_key: x}], full_task: {text: x}}\n"
    ).job
    short = given(
        "name: j\nparameters: {a: 1}\ntasks:\n- {task_key: x, full_task: {text: x}}\n"
        "- {task_key: y, depends_on: [x], full_task: {text: x}}\n"
    ).job
    assert short == long


def test_parameters_keep_the_text_of_the_file(given):
    """C10."""
    words = {
        "day": "2024-01-05",
        "at": "1:30",
        "n": "no",
        "on": "on",
        "v": "1.10",
        "z": "007",
        "t": "true",
        "b": "9" * 5000,
    }
    text = "name: j\nparameters: {" + ", ".join(f"{k}: {v}" for k, v in words.items()) + "}\n" + ONE.partition("\n")[2]
    assert {parameter.name: parameter.default for parameter in given(text).job.parameters} == words


def test_a_unix_cron_expression_is_read(given):
    """docs/semantics.md, section 7."""
    assert given(f"schedule: {{cron: 0 6 * * 1}}\n{ONE}").job.schedule == Schedule(cron="0 6 * * 1")


@pytest.mark.parametrize(
    ("lines", "field", "message"),
    [
        ("schedule: {cron: 0 0 6 * * ?}", "schedule.cron", "should have 5 fields, has 6 (Quartz has 6 fields: use schedule.quartz_cron_expression)"),
        ("schedule: {quartz_cron_expression: 0 6 * * *}", "schedule.quartz_cron_expression", "should have 6 or 7 fields, has 5 (Unix cron has 5 fields: use schedule.cron)"),
        ("schedule: {cron: 0 6 * * *, quartz_cron_expression: 0 0 6 * * ?}", "schedule", "should have exactly one of quartz_cron_expression, cron, not quartz_cron_expression and cron"),
        ("schedule: {timezone_id: UTC}", "schedule", "should have exactly one of quartz_cron_expression, cron"),
        ("schedule: {cron: 0 6 * * *, timezone_id: Europe/Roma}", "schedule.timezone_id", "is not a time zone of the IANA list (did you mean 'Europe/Rome'?)"),
        ("schedule: {cron: 0 6 * * *, timezone_id: ../../etc/passwd}", "schedule.timezone_id", "is not a time zone of the IANA list"),
        ("schedule: {cron: 0 6 * * *, pause_status: paused}", "schedule.pause_status", "should be one of PAUSED, UNPAUSED (did you mean 'PAUSED'?)"),
        ("schedule: {cron: 0 6 * * *, sql_condition: {}}", "schedule.sql_condition", "sql_condition is not supported yet"),
        ("schedule: {cron: 0 6 * * *}\ncontinuous: {}", "continuous", "a job has only one of schedule, trigger, continuous (remove the others)"),
        ("trigger: {pause_status: PAUSED}", "trigger", "should have exactly one of periodic, file_arrival, table_update"),
        ("trigger: {periodic: {interval: 0, unit: HOURS}}", "trigger.periodic.interval", "should be at least 1"),
        ("trigger: {periodic: {interval: 1, unit: HOUR}}", "trigger.periodic.unit", "should be one of DAYS, HOURS, MINUTES, WEEKS (did you mean 'HOURS'?)"),
        ("trigger: {file_arrival: {}}", "trigger.file_arrival.url", "is missing"),
        ("trigger: {table_update: {table_names: []}}", "trigger.table_update.table_names", "should not be empty"),
        ("trigger: {model: {}, periodic: {interval: 1, unit: DAYS}}", "trigger.model", "model triggers are not supported yet: they need a service of Databricks"),
        ("continuous: {task_retry_mode: ALWAYS}", "continuous.task_retry_mode", "should be one of NEVER, ON_FAILURE"),
        ("queue: true", "queue", "should be a mapping"),
        ("queue: {enabled: yes}", "queue.enabled", "should be true or false"),
        ("max_concurrent_runs: -1", "max_concurrent_runs", "should be at least 0"),
        ("max_concurrent_runs: 1.5", "max_concurrent_runs", "should be a whole number"),
        ("timeout_seconds: 99999999999999999999", "timeout_seconds", "is too large for a number"),
        ("health: {rules: [{metric: RUN_DURATION_SECONDS, op: LESS_THAN, value: 1}]}", "health.rules[0].op", "should be one of GREATER_THAN"),
        ("email_notifications: {on_failure: a@example.com}", "email_notifications.on_failure", "should be a list"),
        ("email_notifications: {on_fail: []}", "email_notifications.on_fail", "is not a known field (did you mean 'on_failure'?)"),
        ("webhook_notifications: {on_failure: [{}]}", "webhook_notifications.on_failure[0].id", "is missing"),
        ("notification_settings: {no_alert_for_skipped_runs: 1}", "notification_settings.no_alert_for_skipped_runs", "should be true or false"),
        ("parameters: {a b: 1}", "parameters.a b", "should have letters, digits, _ - and . only, 1 to 100 of them"),
        ("parameters: {a: [1]}", "parameters.a", "should be text, not a list"),
        ("parameters: {a: }", "parameters.a", 'has no value (write "" for empty text)'),
        ("parameters: [{name: a}, {name: a}]", "parameters[1].name", "names the parameter 'a' again, first in line 1"),
        ("parameters: {a: '{{job.parameters.b}}'}", "parameters.a", "{{job.parameters.b}} has no meaning in the default of a job parameter (use it in a field of the task)"),
        ("taks: []", "taks", "is not a known field (did you mean 'tasks'?)"),
    ],
)  # fmt: skip
def test_a_fault_at_the_top_of_the_job_is_told_with_its_field(faults, lines, field, message):
    """docs/semantics.md, sections 1, 5, 7 and 9."""
    assert [(found, text) for _, found, text in faults(f"{lines}\n{ONE}")] == [(field, message)]


@pytest.mark.parametrize("trigger", ["{periodic: {interval: 1, unit: HOURS}}", "{file_arrival: {url: /data}}",
                                     "{table_update: {table_names: [a.b], condition: ALL_UPDATED}}"])  # fmt: skip
def test_triggers_are_kept_as_written(given, trigger):
    assert len(given(f"trigger: {trigger}\n{ONE}").job.trigger) == 1


@pytest.mark.parametrize(
    ("lines", "field", "message"),
    [
        ("max_retries: -2", "max_retries", "should be at least -1"),
        ("timeout_seconds: -1", "timeout_seconds", "should be at least 0"),
        ("timeout_seconds: '60'", "timeout_seconds", "should be a whole number (remove the quotes)"),
        ("min_retry_interval_millis: 1s", "min_retry_interval_millis", "should be a whole number"),
        ("retry_on_timeout: on", "retry_on_timeout", "should be true or false"),
        ("run_if: all_done", "run_if", "should be one of ALL_SUCCESS, AT_LEAST_ONE_SUCCESS, NONE_FAILED, ALL_DONE, AT_LEAST_ONE_FAILED, ALL_FAILED (did you mean 'ALL_DONE'?)"),
        ("depends_on: a", "depends_on", "should be a list"),
        ("depends_on: [[x]]", "depends_on[0]", "should be a mapping or text, not a list"),
        ("depends_on: [{}]", "depends_on[0].task_key", "is missing"),
        ("depends_on: [b]", "depends_on[0]", "there is no task 'b'"),
        ("depends_on: [a]", "depends_on[0]", "a task cannot wait for itself"),
        ("retries: 3", "retries", "is not a known field (did you mean 'max_retries'?)"),
        ("full_tasks: {}", "full_tasks", "is not a known field (did you mean 'full_task'?)"),
        ("expect: [{name: e}]", "expect[0]", "should have either `query`, or `table` with `where`"),
        ("expect: [{name: e, query: q, table: t, where: w}]", "expect[0]", "should have either `query`, or `table` with `where`"),
        ("expect: [{name: e, table: t}]", "expect[0]", "should have both `table` and `where`"),
        ("expect: [{name: e, query: q, on_fail: stop}]", "expect[0].on_fail", "should be one of fail, warn"),
        ("expect: [{name: e, query: '{{job.idd}}'}]", "expect[0].query", "{{job.idd}} is not a reference that exists (did you mean 'job.id'?)"),
    ],
)  # fmt: skip
def test_a_fault_of_a_task_is_told_with_its_field(faults, lines, field, message):
    """docs/semantics.md, sections 1, 2, 4 and 10."""
    found = faults(task(f"full_task: {{text: x}}\n{lines}"))
    assert found == [(5, f"tasks[0].{field}", message)]


@pytest.mark.parametrize("key", ["a b", "ä", "a" * 101, '""', "a/b", '"a\\u202eb"'])
def test_a_task_key_has_letters_digits_underscores_and_hyphens_only(faults, key):
    """docs/semantics.md, section 1; C11."""
    ((line, field, message),) = faults(task("full_task: {text: x}", key=key))
    assert (line, field) == (3, "tasks[0].task_key")
    assert message == "should have letters, digits, _ and - only, 1 to 100 of them"


@pytest.mark.parametrize("name", ["a\u202eb", '"a\\eb"', '"a\\nb"'])
def test_a_job_name_that_cannot_be_shown_is_refused_and_escaped(given, name):
    """C11."""
    with pytest.raises(JobFileError) as caught:
        given(f"name: {name}\n" + ONE.partition("\n")[2])
    (fault,) = caught.value.faults
    assert fault.message == "contains a character that cannot be shown"
    assert fault.value.isprintable()


def test_a_duplicate_task_key_is_refused_with_both_lines(faults):
    """C5."""
    text = ONE + "- task_key: a\n  full_task: {text: x}\n"
    message = "the task_key 'a' stands here for the second time, first in line 3"
    assert faults(text) == [(5, "tasks[1].task_key", message)]


def chain(*edges):
    return "name: j\ntasks:\n" + "".join(
        f"- {{task_key: {key}, depends_on: [{', '.join(upstreams)}], full_task: {{text: x}}}}\n"
        for key, *upstreams in edges
    )


def test_a_cycle_is_named_in_order(faults):
    """C5."""
    ((line, field, message),) = faults(chain(("x",), ("a", "x", "c"), ("b", "a"), ("c", "b")))
    assert (line, field) == (4, "tasks[1].depends_on")
    assert message == "tasks wait for each other: a -> c -> b -> a"


def test_every_cycle_is_named(faults):
    """C5."""
    found = faults(chain(("a", "b"), ("b", "a"), ("c", "a", "d"), ("d", "c"), ("e", "d")))
    assert [message for _, _, message in found] == [
        "tasks wait for each other: a -> b -> a",
        "tasks wait for each other: c -> d -> c",
    ]


def test_a_cycle_of_10000_tasks_is_found_without_recursion(faults):
    """C5."""
    ((_, _, message),) = faults(chain(*((f"t{i}", f"t{(i + 1) % 10_000}") for i in range(10_000))))
    assert message.startswith("tasks wait for each other: t0 -> t1 -> ")
    assert message.endswith("… (10000 tasks)")


def test_a_dependency_named_twice_is_refused(faults):
    assert faults(chain(("a",), ("b", "a", "a"))) == [(4, "tasks[1].depends_on[1]", "names the task 'a' a second time")]


def test_an_outcome_needs_a_condition(faults):
    """docs/semantics.md, section 6; an unquoted true is accepted as text."""
    text = ONE + "- {task_key: b, depends_on: [{task_key: a, outcome: true}], full_task: {text: x}}\n"
    assert faults(text) == [
        (5, "tasks[1].depends_on[0].outcome", "outcome is for conditions only, and 'a' is a full_task")
    ]


def test_references_may_name_any_task_before_this_one_and_no_other(given, faults):
    """docs/semantics.md, section 5."""
    text = (
        "name: j\nparameters: {day: x}\ntasks:\n"
        "- {task_key: a, full_task: {text: '{{job.parameters.day}} {{job.run_id}}'}}\n"
        "- {task_key: b, depends_on: [a], full_task: {text: x}}\n"
        "- {task_key: c, depends_on: [b], full_task: {text: '{{tasks.a.values.k}}'}}\n"
        "- {task_key: d, full_task: {text: x, anything: [{k: '{{tasks.a.values.k}}'}]}}\n"
        "- {task_key: e, full_task: {text: '{{job.parameters.dya}} {{nonsense}}'}}\n"
    )
    found = faults(text)
    assert [(line, field) for line, field, _ in found] == [
        (7, "tasks[3].full_task.anything[0].k"), (8, "tasks[4].full_task.text"), (8, "tasks[4].full_task.text"),
    ]  # fmt: skip
    assert "'a' is not an upstream task" in found[0][2]
    assert "did you mean 'day'?" in found[1][2]
    assert len(given("".join(text.splitlines(keepends=True)[:6])).job.tasks) == 3


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("txt: x", "txt", "is not a known field (did you mean 'text'?)"),
        ("number: x", "number", "should be a whole number"),
        ("number: 0", "number", "should be at least 1"),
        ("number: 100", "number", "should be less than 100"),
        ("number: [1]", "number", "should be a whole number, not a list"),
        ("share: much", "share", "should be a number"),
        ("flag: yes", "flag", "should be true or false"),
        ("mode: apend", "mode", "should be one of append, full (did you mean 'append'?)"),
        ("columns: [a]", "columns", "should be a mapping, not a list"),
        ("columns: {a: {form: x, type: y}}", "columns.a.form", "is not a known field (did you mean 'from'?)"),
        ("columns: {a: {from: x}}", "columns.a.type", "is missing"),
        ("columns: {a: }", "columns.a", 'has no value (write "" for empty text)'),
        ("limit: [1]", "limit", "should be a whole number or text, not a list"),
        ("how: {type: rows, rows: x}", "how.rows", "should be a whole number"),
        ("how: {type: row}", "how.type", "should be one of rows, share (did you mean 'rows'?)"),
        ("how: {rows: 1}", "how.type", "is missing (one of rows, share)"),
        ("pair: [a, b]", "pair[0]", "should be a whole number"),
        ("pair: [1]", "pair", "should have 2 entries"),
        ("names: [a, b, c]", "names", "should have at most 2 entries"),
        ("names: [a, [b]]", "names[1]", "should be text, not a list"),
        ("anything: {a: [99999999999999999999]}", "anything.a[0]", "is too large for a number (put quotes around it if it is text)"),
        ("day: tomorrow", "day", "invalid RFC3339 encoded date"),
        ("code: A1", "code", "should match ^[a-z]+$"),
    ],
)  # fmt: skip
def test_a_fault_of_a_config_is_told_with_its_field(faults, line, field, message):
    """docs/semantics.md, section 1."""
    ((at, name, text),) = faults(task(f"full_task:\n  text: x\n  {line}"))
    assert (at, name, text) == (6, f"tasks[0].full_task.{field}", message)


def test_all_faults_of_a_config_are_told_at_once(faults):
    found = faults(task("full_task:\n  number: x\n  flag: 3\n  columns: {a: {}}\n  mod: full"))
    assert [field for _, field, _ in found] == [
        f"tasks[0].full_task.{name}" for name in ("text", "number", "flag", "columns.a.type", "mod")
    ]


def test_a_config_is_kept_as_plain_data_of_the_right_types(given):
    lines = "full_task: {text: 5, number: 7, columns: {a: int, b: {from: c, type: 1.10}}, limit: 5%, anything: [1, no], how: {type: share, share: 1}, day: 2024-01-05, flag: ~}"
    assert given(task(lines)).job.tasks[0].config == {
        "text": "5",
        "number": 7,
        "columns": {"a": "int", "b": {"from": "c", "type": "1.10"}},
        "limit": "5%",
        "anything": [1, "no"],
        "how": {"type": "share", "share": 1},
        "day": "2024-01-05",
    }


def test_references_in_fields_that_are_not_text_are_checked_when_they_are_filled(given):
    """docs/semantics.md, section 5."""
    lines = "full_task: {text: bad, number: '{{job.parameters.n}}', code: '{{job.id}}', flag: '{{job.parameters.n}}'}"
    config = given(task(lines, top="parameters: {n: 5}\n")).job.tasks[0].config
    filled = {**config, "number": "5", "flag": "true", "code": "b"}
    made = convert_config(Full, filled)
    assert (made.number, made.flag) == (5, True)
    with pytest.raises(TaskFailed, match=r"^full_task\.number: expected 'int', got 'str'$"):
        convert_config(Full, {**filled, "number": "five"})
    with pytest.raises(TaskFailed, match=r"^full_task\.columns\[\.\.\.\]|^full_task\.columns"):
        convert_config(Full, {**filled, "columns": {"a": {"type": []}}})


def test_what_the_layer_itself_finds_is_told_at_its_place(faults, tmp_path):
    found = faults(task("full_task:\n  text: bad\n  columns:\n    b:\n      type: x"))
    assert found == [(8, "tasks[0].full_task.columns.b.type", f"no such type in {tmp_path.name}")]


def test_a_layer_whose_check_breaks_hides_no_other_fault(faults):
    """P1: a plugin's own mistake is named, and the rest of the file is checked."""
    found = faults(task("full_task: {text: raise}\nmax_retries: x"))
    assert [message for _, _, message in found] == [
        "the check of the layer full failed: RuntimeError: broken plugin (tell the plugin's author)", "should be a whole number",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("- a\n", "", "should be a mapping with `name` and `tasks`"),
        ("just text\n", "", "should be a mapping with `name` and `tasks`"),
        ("bundle: {name: x}\n", "", "holds no job (write it below resources.jobs)"),
        ("resources: {jobs: {}}\n", "", "is only a part of a bundle (give the bundle's databricks.yml, and the job with --job)"),
        ("name: x\ntasks: []\n", "tasks", "should not be empty"),
        ("name: x\ntasks: {}\n", "tasks", "should be a list, not a mapping"),
        ("name: x\ntasks: [a]\n", "tasks[0]", "should be a mapping"),
        ("name: x\n", "tasks", "is missing"),
        (ONE.partition("\n")[2], "name", "is missing"),
        ("name:\n" + ONE.partition("\n")[2], "name", 'has no value (write "" for empty text)'),
        ("new: 1\nsettings:\n  " + ONE.replace("\n", "\n  "), "new", "is not a known field beside `settings` (move it below `settings`)"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_job_is_refused_in_words(faults, text, field, message):
    assert [(found, said) for _, found, said in faults(text)] == [(field, message)]


def test_faults_come_in_the_order_of_the_file_with_path_line_and_column(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(task("max_retries: x\nfull_task: {text: x, text: y, number: x}\ndepends_on: [b]"))
    with pytest.raises(JobFileError) as caught:
        read(path, LAYERS, root=tmp_path)
    assert [(fault.line, fault.column) for fault in caught.value.faults] == [(4, 16), (5, 24), (5, 41), (6, 16)]
    assert str(caught.value).splitlines()[0] == f"{path}:4:16: tasks[0].max_retries: should be a whole number"
    assert {fault.path for fault in caught.value.faults} == {str(path)}


def test_bad_values_are_shown_escaped_and_short(given):
    """C11, C16."""
    with pytest.raises(JobFileError) as caught:
        given(task('full_task: {text: x}\nmax_retries: "\\e[31m\\u202e' + "x" * 500 + '"'))
    (fault,) = caught.value.faults
    assert fault.value.startswith("\\x1b[31m\\u202exxx")
    assert len(fault.value) == 80


def test_a_job_outside_the_project_gets_a_warning(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(ONE)
    (warning,) = read(path, LAYERS, root=tmp_path / "project").warnings
    assert "lies outside the project" in warning.message


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path):
    with pytest.raises(JobFileError, match="there is no such file"):
        read(tmp_path / "no.yml", LAYERS, root=tmp_path)


def test_variables_are_filled(given):
    assert (
        given(task("full_task: {text: '${var.x}', number: '{{job.id}}'}"), variables={"x": "y"})
        .job.tasks[0]
        .config["text"]
        == "y"
    )


def test_the_garbage_collector_is_on_again_after_reading(given, faults):
    given(ONE)
    faults("name: x\n")
    assert gc.isenabled()


def test_a_file_is_named_as_it_was_given(tmp_path, monkeypatch):
    (tmp_path / "job.yml").write_text("name: x\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobFileError) as caught:
        read(Path("job.yml"), LAYERS, root=tmp_path)
    assert caught.value.faults[0].path == "job.yml"


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("condition_task: {op: LESS_THAN, left: x, right: 1}", "condition_task.left", "is not a number, and LESS_THAN"),
        ("condition_task: {op: EQUALS, left: x, right: 1}", "condition_task.op", "should be one of"),
        ("max_retries: 1\ncondition_task: {op: EQUAL_TO, left: x, right: 1}", "max_retries", "never retried"),
        ("max_retries: 1\nfor_each_task: {inputs: [1], task: {task_key: i, notebook_task: {notebook_path: n}}}",
         "max_retries", "put max_retries on the task inside it"),
        ("for_each_task: {inputs: 5, task: {task_key: i, notebook_task: {notebook_path: n}}}", "for_each_task.inputs",
         "'5' is not a JSON array"),
        ("for_each_task: {inputs: [], concurrency: 101, task: {task_key: i, notebook_task: {notebook_path: n}}}",
         "for_each_task.concurrency", "should be at most 100"),
        ("for_each_task: {inputs: [1], task: {task_key: i, depends_on: [x], notebook_task: {notebook_path: n}}}",
         "for_each_task.task.depends_on", "has no meaning on the task inside a for_each"),
        ("for_each_task: {inputs: [1], task: {task_key: i, for_each_task: {}}}", "for_each_task.task.for_each_task",
         "cannot stand inside a for_each"),
        ("for_each_task: {inputs: ['{{input}}'], task: {task_key: i, notebook_task: {notebook_path: n}}}",
         "for_each_task.inputs[0]", "has no meaning here"),
        ("for_each_task: {inputs: [1], task: {task_key: i, notebook_task: {notebook_path: '{{inptu}}'}}}",
         "for_each_task.task.notebook_task.notebook_path", "is not a reference that exists"),
        ("notebook_task: {notebook_path: '{{input}}'}", "notebook_task.notebook_path", "has no meaning here"),
        ("run_job_task: {}", "run_job_task", "either `job_id` or `job_name`"),
        ("expect: [{name: e, query: q}]\nrun_job_task: {job_id: 1}", "expect", "belong to the task that writes"),
    ],
)  # fmt: skip
def test_a_fault_of_a_control_task_has_its_place(faults, text, field, words):
    """docs/semantics.md, section 6."""
    ((_, found, message),) = faults(task(text))
    assert (found, words in message) == (f"tasks[0].{field}", True), message


def test_a_for_each_holds_its_task_and_its_inputs(tmp_path):
    """docs/semantics.md, section 6."""
    path = tmp_path / "job.yml"
    path.write_text(
        "name: j\ntasks:\n  - task_key: l\n    for_each_task:\n      inputs: [1, a]\n      concurrency: 3\n"
        "      task: {task_key: i, max_retries: 2, notebook_task: {notebook_path: '{{input}}'}}\n"
    )
    (found,) = read(path, LAYERS, root=tmp_path).job.tasks
    assert (found.kind, found.config) == ("for_each", {"inputs": [1, "a"], "concurrency": 3})
    assert (found.nested.task_key, found.nested.kind, found.nested.max_retries) == ("i", "notebook", 2)
