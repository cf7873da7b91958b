"""References like ``{{job.parameters.day}}`` in the fields of a job: a closed grammar, filled in one pass.

A reference is ``{{``, a name, ``}}``, with or without spaces inside; everything else is text. There are no expressions
and nothing that was filled in is looked at again (``docs/semantics.md``, section 5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from wfengine.clock import iso, to_utc
from wfengine.errors import BadReferenceError, UsageError, did_you_mean, listed, shown
from wfengine.jobs import Job
from wfengine.states import Trigger


class UpstreamScope(msgspec.Struct, frozen=True, kw_only=True):
    """What references may say about an upstream task that has ended."""

    #: Id of its last attempt.
    run_id: int
    result_state: str
    #: Empty when it did not fail.
    error_code: str = ""
    execution_count: int = 1
    values: Mapping[str, Any] = {}
    output: Any = None


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """All that references can name. Without ``task_key`` it is that of a run, for the defaults of its parameters."""

    job_id: int
    job_name: str
    run_id: int
    repair_count: int = 0
    #: Epoch milliseconds.
    start_time: int
    trigger_type: str
    #: Epoch milliseconds of the due tick.
    trigger_time: int
    parameters: Mapping[str, str] = {}
    task_key: str = ""
    #: This attempt's own id.
    task_run_id: int = 0
    attempt_number: int = 0
    notebook_path: str = ""
    #: Upstream tasks by key.
    tasks: Mapping[str, UpstreamScope] = {}
    #: Epoch milliseconds of the step when the run is part of a backfill.
    backfill: int | None = None
    #: The element of a for_each.
    input: Any = msgspec.UNSET
    workspace_id: int = 0
    workspace_url: str = "http://localhost"


#: ``<a>`` of a point in time given in epoch milliseconds, all in UTC.
_ATTRIBUTES: dict[str, Callable[[int], object]] = {
    "iso_date": lambda ms: to_utc(ms).date().isoformat(),
    "iso_datetime": iso,
    "iso_weekday": lambda ms: to_utc(ms).isoweekday(),
    "is_weekday": lambda ms: to_utc(ms).isoweekday() <= 5,
    "year": lambda ms: to_utc(ms).year,
    "month": lambda ms: to_utc(ms).month,
    "day": lambda ms: to_utc(ms).day,
    "hour": lambda ms: to_utc(ms).hour,
    "minute": lambda ms: to_utc(ms).minute,
    "second": lambda ms: to_utc(ms).second,
    "timestamp_ms": lambda ms: ms,
}


def _named(kind: str, name: str, known: Any) -> Any:
    """Look a name up in what may be a mapping; BadReferenceError says what there is."""
    known = known if isinstance(known, Mapping) else {}
    if name not in known:
        there = f"there are {listed(sorted(known), 10)}" if known else "there is none"
        raise BadReferenceError(f"no {kind} {shown(name)!r}: {there}")
    return known[name]


def _rows(scope: Scope, task: str) -> list[Any]:
    output = scope.tasks[task].output
    rows = output.get("rows") if isinstance(output, Mapping) else None
    if not isinstance(rows, list):
        raise BadReferenceError(f"the output of task {task} has no rows")
    return rows


def _first_row(scope: Scope, task: str, column: str) -> Any:
    rows = _rows(scope, task)
    if not rows:
        raise BadReferenceError(f"the output of task {task} has no first row")
    return _named("column", column, rows[0])


def _backfill(scope: Scope, attribute: str) -> object:
    if scope.backfill is None:
        raise BadReferenceError("this run is not part of a backfill")
    return _ATTRIBUTES[attribute](scope.backfill)


#: Every reference there is. <a> is an attribute of a time, <t> a task key, <n> any name.
FORMS: dict[str, Callable[..., Any]] = {
    "job.id": lambda scope: scope.job_id,
    "job.name": lambda scope: scope.job_name,
    "job.run_id": lambda scope: scope.run_id,
    "job.repair_count": lambda scope: scope.repair_count,
    "job.start_time.<a>": lambda scope, a: _ATTRIBUTES[a](scope.start_time),
    "job.trigger.type": lambda scope: scope.trigger_type.lower().replace("one_time", "onetime"),
    "job.trigger.time.<a>": lambda scope, a: _ATTRIBUTES[a](scope.trigger_time),
    "job.parameters.<n>": lambda scope, n: scope.parameters[n],
    "task.name": lambda scope: scope.task_key,
    "task.run_id": lambda scope: scope.task_run_id,
    "task.execution_count": lambda scope: scope.attempt_number + 1,
    "task.notebook_path": lambda scope: scope.notebook_path,
    "tasks.<t>.run_id": lambda scope, t: scope.tasks[t].run_id,
    "tasks.<t>.result_state": lambda scope, t: scope.tasks[t].result_state.lower(),
    "tasks.<t>.error_code": lambda scope, t: scope.tasks[t].error_code,
    "tasks.<t>.execution_count": lambda scope, t: scope.tasks[t].execution_count,
    "tasks.<t>.values.<n>": lambda scope, t, n: _named("task value", n, scope.tasks[t].values),
    "tasks.<t>.output.rows": _rows,
    "tasks.<t>.output.first_row.<n>": _first_row,
    "input": lambda scope: scope.input,
    "input.<n>": lambda scope, n: _named("key in the input", n, scope.input),
    "backfill.iso_date": lambda scope: _backfill(scope, "iso_date"),
    "backfill.iso_datetime": lambda scope: _backfill(scope, "iso_datetime"),
    "workspace.id": lambda scope: scope.workspace_id,
    "workspace.url": lambda scope: scope.workspace_url,
    # The older names of some of these.
    "job_id": lambda scope: scope.job_id,
    "run_id": lambda scope: scope.task_run_id,
    "parent_run_id": lambda scope: scope.run_id,
    "task_key": lambda scope: scope.task_key,
    "task_retry_count": lambda scope: scope.attempt_number,
    "start_date": lambda scope: _ATTRIBUTES["iso_date"](scope.start_time),
    "start_time": lambda scope: scope.start_time,
}

#: Forms that the default of a job parameter cannot use: there is no task yet, and no parameter has its value.
_OF_TASK = ("task.", "tasks.", "input", "run_id", "task_", "job.parameters.")

_REFERENCE = re.compile(r"\{\{([^{}]*)\}\}")
_SECRET = re.compile(r"secrets/[\w.@-]+/[\w.@-]+", re.ASCII)
#: A name with other characters stands in backticks.
_PARTS = {
    "<a>": f"({'|'.join(_ATTRIBUTES)})",
    "<t>": r"([A-Za-z0-9_-]+|`[^`]+`)",
    "<n>": r"([A-Za-z0-9_.-]+|`[^`]+`)",
}
_GRAMMAR = tuple(
    (form, re.compile("".join(_PARTS.get(part, re.escape(part)) for part in re.split("(<.>)", form)))) for form in FORMS
)


class _Reference(NamedTuple):
    #: A key of ``FORMS``.
    form: str
    #: What stands for ``<a>``, ``<t>`` and ``<n>``.
    names: tuple[str, ...]


def _parse(name: str) -> _Reference | None:
    for form, pattern in _GRAMMAR:
        if match := pattern.fullmatch(name):
            return _Reference(form, tuple(found.strip("`") for found in match.groups()))
    return None


def references(value: Any) -> list[str]:
    """Return the names of the references in a JSON value in order, as written but without the spaces around them."""
    return [match[1].strip() for text in _texts(value) for match in _REFERENCE.finditer(text)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def fill(value: Any, scope: Scope) -> Any:
    """Return a JSON value with the references in all its strings filled in; keys of mappings are left alone.

    What is filled in is text: values that are no strings become compact JSON. It is never scanned again. References to
    secrets stay as they are, for the attempt's own process to resolve. Raises BadReferenceError.
    """
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: _filled(match, scope), value)
    if isinstance(value, Mapping):
        return {key: fill(item, scope) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill(item, scope) for item in value]
    return value


def _filled(match: re.Match[str], scope: Scope) -> str:
    name = match[1].strip()
    fault = check(
        name,
        parameters=scope.parameters,
        upstreams=scope.tasks,
        in_for_each=scope.input is not msgspec.UNSET,
        in_task=bool(scope.task_key),
    )
    if fault:
        message, hint = fault
        raise BadReferenceError(f"{message} ({hint})" if hint else message)
    reference = _parse(name)
    if reference is None:  # good and in no form: a secret
        return match[0]
    try:
        found = FORMS[reference.form](scope, *reference.names)
    except BadReferenceError as error:
        raise BadReferenceError(f"{_quoted(name)}: {error}") from None
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _quoted(name: str) -> str:
    return "{{" + shown(name) + "}}"


def check(
    name: str,
    *,
    parameters: Collection[str],
    upstreams: Collection[str],
    in_for_each: bool = False,
    in_task: bool = True,
) -> tuple[str, str] | None:
    """Say what is wrong with a reference and what to do, before any run; None when it is good.

    ``parameters`` are the job's, ``upstreams`` every task that has ended before; ``in_task`` is false for the default
    of a job parameter.
    """
    quoted = _quoted(name)
    if _SECRET.fullmatch(name):
        return None
    reference = _parse(name)
    if reference is None:
        return f"{quoted} is not a reference that exists", did_you_mean(name, _examples(name, parameters, upstreams))
    form, names = reference
    if form.startswith(_OF_TASK) and not in_task:
        return f"{quoted} has no meaning in the default of a job parameter", "use it in a field of the task"
    if form.startswith("input") and not in_for_each:
        return f"{quoted} has no meaning here", "only the task inside a for_each has an input"
    if form == "job.parameters.<n>" and names[0] not in parameters:
        return f"{quoted}: the job has no parameter {shown(names[0])!r}", did_you_mean(names[0], parameters)
    if form.startswith("tasks.") and names[0] not in upstreams:
        hint = did_you_mean(names[0], upstreams) or "add it to depends_on"
        return f"{quoted}: {shown(names[0])!r} is not an upstream task of this one", hint
    return None


def _examples(name: str, parameters: Collection[str], upstreams: Collection[str]) -> Iterator[str]:
    """Yield every reference that could be meant; a free name is taken from what was written."""
    last = name.rpartition(".")[2]
    for form in FORMS:
        names = parameters if form.startswith("job.parameters") else (last,)
        for example in (form.replace("<t>", task) for task in (upstreams if "<t>" in form else ("",))):
            part, options = ("<a>", _ATTRIBUTES) if "<a>" in form else ("<n>", names)
            yield from dict.fromkeys(example.replace(part, option) for option in options)


def parameters_of_run(job: Job, given: Mapping[str, str], scope: Scope) -> dict[str, str]:
    """Return the value of every job parameter: as given, else its default with the references filled in.

    Given values are text and stay as they are. ``scope`` needs no parameters, a default cannot name another one.
    Raises UsageError when the job has no such parameter, BadReferenceError for a default that cannot be filled.
    """
    known = [parameter.name for parameter in job.parameters]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {listed(known, 10) or 'none'}"
            raise UsageError(f"job {shown(job.name)} has no parameter {shown(name)!r} ({hint})")
    return {
        parameter.name: given[parameter.name] if parameter.name in given else fill(parameter.default, scope)
        for parameter in job.parameters
    }


def parameters_by_ids(
    job: Job,
    given: Mapping[str, str],
    trigger: Trigger,
    *,
    trigger_time: int,
    start_time: int,
    backfill: int | None = None,
) -> Callable[[int, int], dict[str, str]]:
    """Return ``parameters_of_run`` as a function of the job's and the run's id, which exist once the run is stored."""

    def parameters(job_id: int, run_id: int) -> dict[str, str]:
        scope = Scope(
            job_id=job_id,
            job_name=job.name,
            run_id=run_id,
            start_time=start_time,
            trigger_type=trigger.value.lower(),
            trigger_time=trigger_time,
            backfill=backfill,
        )
        return parameters_of_run(job, given, scope)

    return parameters
