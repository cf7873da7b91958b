"""The grammar of references (``docs/semantics.md``, section 5)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wfengine.errors import BadReferenceError, UsageError
from wfengine.jobs import Job, Parameter, Task
from wfengine.values import FORMS, Scope, UpstreamScope, check, fill, parameters_of_run, references

#: A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: Sunday 2026-03-29 01:30:05.007 UTC, in the hour that Berlin skips.
TICK = 1_774_747_805_007
#: Monday 2026-03-30 00:00 UTC.
START = 1_774_828_800_000
UPSTREAM = UpstreamScope(
    run_id=71,
    result_state="FAILED",
    error_code="UserError",
    execution_count=3,
    values={"count": 12, "file-name.csv": "a b", "list": [1, {"ä": None}], "none": None, "no": False, "": "empty"},
    output={"rows": [{"day": "2026-03-29", "total net": 1.5}, {"day": "2026-03-30", "total net": 2}]},
)
SCOPE = Scope(
    job_id=11,
    job_name="retail",
    run_id=22,
    repair_count=2,
    start_time=START,
    trigger_type="PERIODIC",
    trigger_time=TICK,
    parameters={"day": "2026-03-29", "a.b-c_d": "dotted", "odd name": "spaced", "tricky": "{{job.id}}"},
    task_key="gold-1",
    task_run_id=33,
    attempt_number=1,
    notebook_path="notebooks/gold.py",
    tasks={"silver-1": UPSTREAM, "empty": UpstreamScope(run_id=72, result_state="SUCCESS", output={"rows": []})},
    backfill=TICK,
    input={"country": "DE", "nested": {"x": [1]}},
    workspace_id=0,
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("job.id", "11"),
        ("job.name", "retail"),
        ("job.run_id", "22"),
        ("job.repair_count", "2"),
        ("job.start_time.iso_date", "2026-03-30"),
        ("job.start_time.iso_datetime", "2026-03-30T00:00:00.000Z"),
        ("job.trigger.type", "periodic"),
        ("job.trigger.time.iso_date", "2026-03-29"),
        ("job.trigger.time.iso_datetime", "2026-03-29T01:30:05.007Z"),
        ("job.trigger.time.iso_weekday", "7"),
        ("job.trigger.time.is_weekday", "false"),
        ("job.start_time.is_weekday", "true"),
        ("job.trigger.time.year", "2026"),
        ("job.trigger.time.month", "3"),
        ("job.trigger.time.day", "29"),
        ("job.trigger.time.hour", "1"),
        ("job.trigger.time.minute", "30"),
        ("job.trigger.time.second", "5"),
        ("job.trigger.time.timestamp_ms", str(TICK)),
        ("job.parameters.day", "2026-03-29"),
        ("job.parameters.a.b-c_d", "dotted"),
        ("job.parameters.`odd name`", "spaced"),
        ("task.name", "gold-1"),
        ("task.run_id", "33"),
        ("task.execution_count", "2"),
        ("task.notebook_path", "notebooks/gold.py"),
        ("tasks.silver-1.run_id", "71"),
        ("tasks.silver-1.result_state", "failed"),
        ("tasks.silver-1.error_code", "UserError"),
        ("tasks.silver-1.execution_count", "3"),
        ("tasks.silver-1.values.count", "12"),
        ("tasks.silver-1.values.file-name.csv", "a b"),
        ("tasks.`silver-1`.values.list", '[1,{"ä":null}]'),
        ("tasks.silver-1.values.none", "null"),
        ("tasks.silver-1.values.no", "false"),
        ("tasks.silver-1.output.first_row.day", "2026-03-29"),
        ("tasks.silver-1.output.first_row.`total net`", "1.5"),
        (
            "tasks.silver-1.output.rows",
            '[{"day":"2026-03-29","total net":1.5},{"day":"2026-03-30","total net":2}]',
        ),
        ("input", '{"country":"DE","nested":{"x":[1]}}'),
        ("input.country", "DE"),
        ("input.nested", '{"x":[1]}'),
        ("backfill.iso_date", "2026-03-29"),
        ("backfill.iso_datetime", "2026-03-29T01:30:05.007Z"),
        ("workspace.id", "0"),
        ("workspace.url", "http://localhost"),
        ("job_id", "11"),
        ("run_id", "33"),
        ("parent_run_id", "22"),
        ("start_date", "2026-03-30"),
        ("start_time", str(START)),
        ("task_key", "gold-1"),
        ("task_retry_count", "1"),
    ],
)
def test_every_reference_is_filled_with_its_text(name: str, text: str) -> None:
    """``docs/semantics.md``, section 5: with and without spaces inside, alone and within text; ``check`` agrees."""
    assert fill("{{" + name + "}}", SCOPE) == text
    assert fill("a{{ " + name + " }}b", SCOPE) == f"a{text}b"
    assert check(name, parameters=SCOPE.parameters, upstreams=SCOPE.tasks, in_for_each=True) is None


@pytest.mark.parametrize(("trigger", "text"), [("ONE_TIME", "onetime"), ("RUN_JOB_TASK", "run_job_task")])
def test_the_trigger_type_is_spelled_as_job_files_compare_it(trigger: str, text: str) -> None:
    """``docs/semantics.md``, section 5."""
    assert fill("{{job.trigger.type}}", msgspec.structs.replace(SCOPE, trigger_type=trigger)) == text


def test_references_are_filled_at_any_depth_and_other_values_are_left_alone() -> None:
    """``docs/semantics.md``, section 5: in fields only; keys of mappings are names."""
    config = {
        "{{job.id}}": ["x", 1, None, True, 2.5, {"path": "/in/{{job.parameters.day}}/{{job.id}}-{{job.id}}"}],
        "deep": [[["{{task.name}}"]]],
    }
    assert fill(config, SCOPE) == {
        "{{job.id}}": ["x", 1, None, True, 2.5, {"path": "/in/2026-03-29/11-11"}],
        "deep": [[["gold-1"]]],
    }


def test_what_was_filled_in_is_never_looked_at_again() -> None:
    """docs/reliability.md, C13: one pass."""
    assert fill("{{job.parameters.tricky}}", SCOPE) == "{{job.id}}"
    split = msgspec.structs.replace(SCOPE, parameters={"open": "{{job.", "close": "id}}"})
    assert fill("{{job.parameters.open}}{{job.parameters.close}}", split) == "{{job.id}}"


def test_a_reference_to_a_secret_stays_as_it_stands() -> None:
    """``docs/semantics.md``, section 5: the engine's state never holds a secret."""
    assert fill("Bearer {{secrets/my-scope/api.key}}!", SCOPE) == "Bearer {{secrets/my-scope/api.key}}!"
    assert check("secrets/my-scope/api.key", parameters=(), upstreams=()) is None


def test_references_are_listed_in_order_as_written() -> None:
    assert references({"a": ["{{ job.id }} {{nonsense}}", 1], "b": "{{secrets/a/b}}", "{{c}}": None}) == [
        "job.id",
        "nonsense",
        "secrets/a/b",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("job.idd", "{{job.idd}} is not a reference that exists (did you mean 'job.id'?)"),
        ("job.parameters.dya", "{{job.parameters.dya}}: the job has no parameter 'dya' (did you mean 'day'?)"),
        ("job.start_time.iso_dat", "did you mean 'job.start_time.iso_date'?"),
        ("job.start_time", "is not a reference that exists"),
        ("tasks.silver.run_id", "'silver' is not an upstream task of this one (did you mean 'silver-1'?)"),
        ("tasks.other.run_id", "'other' is not an upstream task of this one (add it to depends_on)"),
        ("tasks.silver-1.value.count", "did you mean 'tasks.silver-1.values.count'?"),
        ("tasks.silver-1.values.cuont", "no task value 'cuont': there are , count, file-name.csv, list, no, none"),
        ("tasks.silver-1.output", "is not a reference that exists"),
        ("tasks.silver-1.output.first_row.x", "no column 'x': there are day, total net"),
        ("tasks.empty.output.first_row.x", "the output of task empty has no first row"),
        ("tasks.empty.values.x", "no task value 'x': there is none"),
        ("input.city", "no key in the input 'city': there are country, nested"),
        ("", "{{}} is not a reference that exists"),
        ("JOB.ID", "is not a reference that exists"),
        ("job. id", "is not a reference that exists"),
        ("job.id\nx", r"{{job.id\nx}} is not a reference"),
        ("job.parameters.", "is not a reference that exists"),
        ("job.parameters.day|upper", "is not a reference that exists"),
        ("secrets/a", "is not a reference that exists"),
    ],
)
def test_a_bad_reference_is_refused_with_what_could_be_meant(name: str, message: str) -> None:
    """``docs/semantics.md``, section 5: never left as text in silence."""
    with pytest.raises(BadReferenceError) as caught:
        fill({"field": ["x{{" + name + "}}"]}, SCOPE)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["input", "input.country"])
def test_an_input_exists_only_inside_a_for_each(name: str) -> None:
    """``docs/semantics.md``, section 6."""
    with pytest.raises(BadReferenceError, match="only the task inside a for_each has an input"):
        fill("{{" + name + "}}", msgspec.structs.replace(SCOPE, input=msgspec.UNSET))


def test_a_backfill_reference_outside_a_backfill_is_refused() -> None:
    """``docs/semantics.md``, section 8."""
    with pytest.raises(BadReferenceError, match="not part of a backfill"):
        fill("{{backfill.iso_date}}", msgspec.structs.replace(SCOPE, backfill=None))


def test_rows_of_a_task_without_rows_are_refused() -> None:
    """``docs/semantics.md``, section 5."""
    scope = msgspec.structs.replace(SCOPE, tasks={"t": UpstreamScope(run_id=1, result_state="SUCCESS", output="text")})
    with pytest.raises(BadReferenceError, match="the output of task t has no rows"):
        fill("{{tasks.t.output.rows}}", scope)


@pytest.mark.parametrize(
    ("name", "known", "fault"),
    [
        ("job.parameters.dya", {"parameters": ["day"]}, ("the job has no parameter 'dya'", "did you mean 'day'?")),
        ("tasks.bronze.run_id", {}, ("is not an upstream task", "add it to depends_on")),
        ("input.x", {}, ("has no meaning here", "for_each")),
        ("task.name", {"in_task": False}, ("in the default of a job parameter", "field of the task")),
        ("run_id", {"in_task": False}, ("in the default of a job parameter", "field of the task")),
        ("job.parameters.a", {"in_task": False, "parameters": "a"}, ("in the default", "field of the task")),
        ("job.trigger.tiem.iso_date", {}, ("not a reference", "did you mean 'job.trigger.time.iso_date'?")),
        ("zzzzzz", {}, ("not a reference", "")),
    ],
)
def test_a_check_says_what_is_wrong_before_any_run(name: str, known: dict[str, Any], fault: tuple[str, str]) -> None:
    """``docs/semantics.md``, section 5: refused by ``validate``."""
    found = check(name, **{"parameters": (), "upstreams": (), **known})
    assert found is not None
    assert fault[0] in found[0]
    assert fault[1] in found[1]


#: Texts of other languages that engines, shells and databases have been made to run.
PAYLOADS = [
    "${7*7}",
    "${var.x}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{% for x in (1).__class__.__base__.__subclasses__() %}{% endfor %}",
    "{%import os%}",
    "{#comment#}",
    "{0}",
    "{}",
    "{0.__class__.__mro__}",
    "{self.__init__.__globals__}",
    "{scope.parameters}",
    "%s%s%s%n",
    "%(job_id)s",
    "%x%x",
    "$job_id",
    "${job.id}",
    "$(id)",
    "`id`",
    "; rm -rf /",
    "&& id",
    "|| id",
    "| cat /etc/passwd",
    "> /tmp/x",
    "\n/bin/sh",
    "$IFS$9id",
    "' OR '1'='1",
    "'; DROP TABLE orders; --",
    '" OR ""="',
    "1; SELECT 1",
    "/* */ UNION SELECT * FROM secrets",
    "\\' OR 1=1 --",
    "x' || 'y",
    "../../etc/passwd",
    "/etc/passwd\x00.csv",
    "\x1b[31mred",
    "\u202egnp.exe",
    "{ {job.id} }",
    "{{job.id",
    "job.id}}",
    "}}{{",
    "{ {job.id}}",
    "{{job.id}",
    "{{job.{x}}}",
    "{{ {'a': 1} }}",
    "\\{\\{job.id\\}\\}",
    "&#123;&#123;job.id&#125;&#125;",
    "%7B%7Bjob.id%7D%7D",
    "__import__('os').system('id')",
    "eval(compile('1','','exec'))",
    "lambda: 0",
    "!!python/object/apply:os.system ['id']",
    "@{job().id}",
    "[[${7*7}]]",
    "*{7*7}",
    "~{job.id}",
    "\\1\\g<0>",
    "\\g<name>",
    "<script>alert(1)</script>",
    "(?R)(a+)+$",
    "jndi:ldap://localhost/a",
]
#: References as an attacker would write them: text when they come in as a value, refused in a field.
EXPRESSIONS = [
    "{{}}",
    "{{{}}}",
    "{{7*7}}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{config.items()}}",
    "{{self}}",
    "{{request.application}}",
    "{{cycler.__init__.__globals__.os.popen('id').read()}}",
    "{{job.parameters}}",
    "{{job.parameters.__class__}}",
    "{{job.__class__.id}}",
    "{{tasks.__dict__.run_id}}",
    "{{tasks.silver-1.__class__}}",
    "{{job.id|safe}}",
    "{{job.id + 1}}",
    "{{job.id;job.name}}",
    "{{job['id']}}",
    "{{input.__class__}}",
    "{{lipsum}}",
    "{{job.start_time.__class__}}",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_of_another_language_stays_text(payload: str) -> None:
    """docs/reliability.md, C13: in a field, between references, and as a value that is filled in."""
    assert fill(payload, SCOPE) == payload
    given = msgspec.structs.replace(SCOPE, parameters={"day": payload})
    assert fill("<{{job.parameters.day}}>", given) == f"<{payload}>"


@pytest.mark.parametrize("payload", EXPRESSIONS)
def test_an_expression_is_refused_in_a_field_and_is_text_in_a_value(payload: str) -> None:
    """docs/reliability.md, C13: no expressions, no attribute of any object, no second pass."""
    with pytest.raises(BadReferenceError):
        fill(payload, SCOPE)
    given = msgspec.structs.replace(SCOPE, parameters={"day": payload}, tasks={"t": upstream_with(payload)})
    assert fill("{{job.parameters.day}}{{tasks.t.values.x}}", given) == payload * 2


def upstream_with(value: Any) -> UpstreamScope:
    return UpstreamScope(run_id=1, result_state="SUCCESS", values={"x": value})


def test_at_least_sixty_payloads_are_tried() -> None:
    """docs/reliability.md, C13."""
    assert len(set(PAYLOADS)) >= 60


@patient
@given(st.text())
def test_a_value_goes_through_unchanged_whatever_it_is(value: str) -> None:
    """docs/reliability.md, C13."""
    assert fill("{{job.parameters.p}}", msgspec.structs.replace(SCOPE, parameters={"p": value})) == value


@patient
@given(st.text(alphabet="{}. jobid", max_size=40))
def test_text_of_braces_is_filled_or_refused_but_never_breaks(text: str) -> None:
    """docs/reliability.md, C13: what is no reference is kept, character by character."""
    if set(references(text)) <= {"job.id"}:
        assert fill(text, SCOPE) == re.sub(r"\{\{ *job\.id *\}\}", "11", text)
    else:
        with pytest.raises(BadReferenceError):
            fill(text, SCOPE)


def test_long_text_full_of_braces_takes_linear_time() -> None:
    """docs/reliability.md, C13: a pattern that backtracks would not come back from this."""
    text = "{{" * 200_000 + "{{" + " " * 200_000 + "{"
    assert fill(text, SCOPE) == text


# -- parameters of a run --------------------------------------------------------------------------------------------

JOB = Job(
    name="retail",
    tasks=(Task(task_key="t", kind="shell"),),
    parameters=(Parameter("day", "{{job.trigger.time.iso_date}}"), Parameter("country", "DE")),
)
RUN = msgspec.structs.replace(SCOPE, task_key="", parameters={}, tasks={}, input=msgspec.UNSET)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"day": "2026-03-29", "country": "DE"}),
        ({"country": "FR"}, {"day": "2026-03-29", "country": "FR"}),
        ({"day": "{{job.id}}", "country": ""}, {"day": "{{job.id}}", "country": ""}),
    ],
)
def test_a_given_value_beats_the_default_and_stays_text(values: Mapping[str, str], expected: dict[str, str]) -> None:
    """``docs/semantics.md``, section 5: the default of a processing date is the due tick."""
    assert parameters_of_run(JOB, values, RUN) == expected


def test_a_parameter_that_the_job_does_not_have_is_refused() -> None:
    """``docs/semantics.md``, section 5."""
    with pytest.raises(UsageError, match=r"job retail has no parameter 'contry' \(did you mean 'country'\?\)"):
        parameters_of_run(JOB, {"contry": "FR"}, RUN)
    with pytest.raises(UsageError, match=r"no parameter 'zzz' \(it has day, country\)"):
        parameters_of_run(JOB, {"zzz": "FR"}, RUN)


@pytest.mark.parametrize(
    "name", ["task.name", "tasks.a.run_id", "run_id", "task_key", "job.parameters.country", "input"]
)
def test_a_default_cannot_name_what_only_a_task_has(name: str) -> None:
    """``docs/semantics.md``, section 5: an empty text in its place would go unnoticed."""
    job = msgspec.structs.replace(JOB, parameters=(Parameter("country"), Parameter("p", "{{" + name + "}}")))
    with pytest.raises(BadReferenceError, match="has no meaning in the default of a job parameter"):
        parameters_of_run(job, {}, RUN)
    assert parameters_of_run(job, {"p": "x"}, RUN)["p"] == "x"


def test_every_form_is_documented() -> None:
    """``docs/semantics.md``, section 5 lists the grammar as it is built."""
    text = (Path(__file__).parents[2] / "docs" / "semantics.md").read_text(encoding="utf-8")
    assert [form for form in FORMS if f"`{form}`" not in text] == []
