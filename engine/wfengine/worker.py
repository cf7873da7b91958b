"""One attempt, in its child process: builds what the layer needs, runs it, and says how it came out."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from wfengine import log
from wfengine.errors import TaskFailed, WfengineError, missing_extra
from wfengine.executor.messages import LINE_LIMIT
from wfengine.jobs import Expectation
from wfengine.layer import Layer, TaskContext, TaskIdentity, TaskResult
from wfengine.runs import ErrorInfo, ExpectationFact, Facts
from wfengine.spark import stamp, touched
from wfengine.spark.touched import Touched
from wfengine.spark.warehouse import table_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Bytes that a JSON result or a task value may have (docs/semantics.md, section 5).
JSON_LIMIT = 48 * 1024
_MESSAGE_LIMIT = 4096
_TRACEBACK_LIMIT = 32 * 1024
#: Packages whose frames stand between the worker and the user's code.
_OWN = frozenset({"wfengine", "wfengine_layers", "importlib", "runpy"})


class AttemptSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that the child is told about its attempt."""

    identity: TaskIdentity
    #: Name of the layer, as in the job file without ``_task``.
    kind: str
    #: Its class, ``module:Class``.
    layer: str
    #: The task's config with every reference filled in.
    config: dict[str, Any] = {}
    #: Job parameters of the run.
    parameters: dict[str, str] = {}
    #: Task values of upstream tasks by task key and name.
    upstream_values: dict[str, dict[str, Any]] = {}
    expect: tuple[Expectation, ...] = ()
    #: Folder of the job file, root of the project, folder of the tables, and the attempt's own folder.
    base: str
    root: str
    warehouse: str
    folder: str
    #: Further folders that may be read.
    allowed: tuple[str, ...] = ()
    #: Address of the Spark Connect server; empty when the task does not use Spark.
    spark_remote: str = ""
    #: Tables that the task says it writes.
    outputs: tuple[str, ...] = ()
    #: Numbers of earlier attempts whose writes are undone first, if they are not yet.
    undo: tuple[int, ...] = ()


class _BadConfigError(TaskFailed):
    """The config, its references filled in, does not fit the layer."""


class Record(msgspec.Struct, kw_only=True):
    """How the attempt came out: what goes back as its completion record."""

    #: ``success`` or ``failed``.
    status: str
    output: Any = None
    facts: Facts = Facts()
    message: str = ""
    values: dict[str, Any] = {}
    error: ErrorInfo | None = None


def before_fork() -> None:
    """Build once, in the process that the attempts are forked from, what each would build for itself."""
    identity = {"job_id": 0, "job_name": "", "run_id": 0, "task_key": "", "task_run_id": 0}
    places = dict.fromkeys(("kind", "layer", "base", "root", "warehouse", "folder"), "")
    msgspec.convert({"identity": identity, **places}, AttemptSpec)
    msgspec.to_builtins(Record(status="success"))
    for layer in Layer.__subclasses__():
        with contextlib.suppress(msgspec.ValidationError):
            msgspec.convert({}, layer.Config, strict=False)


def main(payload: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the attempt that ``payload`` (an AttemptSpec) describes and return its completion record."""
    spec = msgspec.convert(payload, AttemptSpec)
    log.configure("console", stream=sys.stdout)
    sys.path.insert(0, spec.base)
    os.environ[stamp.VARIABLE] = stamp.text(spec.identity)
    record = Record(status="success")
    try:
        _attempt(spec, report, record)
    except SystemExit as error:
        message = f"the code called sys.exit({error.code!r}) before the task was complete"
        _fail(record, ErrorInfo(message=message, code="NoCompletionRecord", where=_where(error, spec)))
    except WfengineError as error:
        where = error.where if isinstance(error, TaskFailed) else ""
        code = "ConfigError" if isinstance(error, _BadConfigError) else "UserError"
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the log of the attempt
        _fail(record, ErrorInfo(message=_cut(str(error), _MESSAGE_LIMIT), code=code, where=where))
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises fails the attempt and no more
        text = _cut(_traceback(error), _TRACEBACK_LIMIT)
        print(text, file=sys.stderr)  # noqa: T201
        _fail(record, ErrorInfo(message=_summary(error), where=_where(error, spec), traceback=text))
    finally:
        shutil.rmtree(Path(spec.folder, "scratch"), ignore_errors=True)
    built: dict[str, Any] = msgspec.to_builtins(record)
    return built


def _fail(record: Record, error: ErrorInfo) -> None:
    record.status, record.output, record.error = "failed", None, error


def _attempt(spec: AttemptSpec, report: Callable[[dict[str, Any]], None], record: Record) -> None:
    """Run the layer and fill in ``record``; whatever is raised fails the attempt."""
    layer = _load(spec)
    notes = Touched(Path(spec.folder, touched.FILE), _warehouse(spec))
    context = context_of(spec, layer, report, notes)
    # The same dictionary: what was set before a failure stands.
    record.values = context.values
    try:
        record.facts = _undo_earlier(spec, context)
        for table in spec.outputs:
            notes.declared(table, str(table_path(context.warehouse, table)), stamp.text(spec.identity))
        _run(spec, layer, context, record)
        if spec.expect:
            _check_expectations(spec, context, record)
        check_json("the result", record.output)
        for key, value in context.values.items():
            check_json(f"task value {key!r}", value)
    finally:
        _close_session(context)
        if context.spark_started:
            notes.closed()


def _run(spec: AttemptSpec, layer: type[Layer[Any]], context: TaskContext[msgspec.Struct], record: Record) -> None:
    """Run the layer itself; the tables that it touched are reported however it ends."""
    try:
        result = layer().run(context)
        if not isinstance(result, TaskResult):
            raise TaskFailed(f"the layer {spec.kind!r} must return a TaskResult, not {type(result).__name__}")
        check_json("the report of facts", _plain(result.facts), LINE_LIMIT)
        warnings = (*record.facts.warnings, *result.facts.warnings)
        record.facts = msgspec.structs.replace(result.facts, warnings=warnings)
        record.message, record.output = _cut(str(result.message), _MESSAGE_LIMIT), result.output
        if record.message:
            context.log.info(record.message)
    finally:
        record.facts = with_tables(record.facts, spec)


def with_tables(facts: Facts, spec: AttemptSpec) -> Facts:
    """Add what the attempt read and wrote, as far as its notes and the tables' logs tell; never raises."""
    from wfengine.spark import datafacts

    try:
        noted = touched.notes(Path(spec.folder))
        return datafacts.complete(facts, datafacts.tables(noted, stamp.text(spec.identity), _warehouse(spec)))
    except Exception as error:  # noqa: BLE001 - the outcome of the task stands, whatever its tables look like
        told = f"what was read and written cannot be told: {_summary(error)}"
        return msgspec.structs.replace(facts, warnings=(*facts.warnings, told))


def _undo_earlier(spec: AttemptSpec, context: TaskContext[msgspec.Struct]) -> Facts:
    """Undo what earlier attempts left, when the engine died before that could be done right after them."""
    told = []
    for number in sorted(spec.undo, reverse=True):
        earlier = msgspec.structs.replace(spec.identity, attempt_number=number)
        folder = Path(spec.folder).with_name(str(number))
        if touched.pending(folder) and (text := _undo(spec, folder, earlier, context)):
            context.log.warning("an earlier attempt had not been undone", attempt=number, outcome=text)
            told.append(f"attempt {number}: {text}")
    return Facts(warnings=tuple(told))


def _undo(spec: AttemptSpec, folder: Path, of: TaskIdentity, context: TaskContext[msgspec.Struct]) -> str:
    from wfengine.spark import fence, restore

    def stop(session: str) -> None:
        if spec.spark_remote:
            fence.interrupt(context.spark, session)

    return restore.undo(folder, stamp.text(of), _warehouse(spec), stop)


def _warehouse(spec: AttemptSpec) -> Path:
    return Path(spec.warehouse).resolve()


def _load(spec: AttemptSpec) -> type[Layer[Any]]:
    module, _, name = spec.layer.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    layer: type[Layer[Any]] = found
    if layer.needs_spark:
        try:
            importlib.import_module("pyspark")
        except ImportError as error:
            raise missing_extra("lakehouse", f"a {spec.kind}_task", error) from error
    return layer


def context_of(
    spec: AttemptSpec,
    layer: type[Layer[Any]],
    report: Callable[[dict[str, Any]], None],
    notes: Touched | None = None,
) -> TaskContext[msgspec.Struct]:
    """Build what a layer's ``run`` is given; TaskFailed when the config does not fit.

    What it reads and writes through Spark goes into ``notes``.
    """
    from wfengine.jobfile import convert_config

    try:
        config = convert_config(layer, spec.config)
    except TaskFailed as error:
        raise _BadConfigError(str(error)) from None
    own: Mapping[str, object] = getattr(config, layer.parameters_field) or {} if layer.parameters_field else {}
    return TaskContext(
        config=config,
        identity=spec.identity,
        parameters={**{name: _text(value) for name, value in own.items()}, **spec.parameters},
        log=log.get(task=spec.identity.task_key),
        scratch=Path(spec.folder, "scratch"),
        base=Path(spec.base),
        root=Path(spec.root),
        warehouse=Path(spec.warehouse),
        allowed=tuple(Path(folder) for folder in spec.allowed),
        upstream_values=spec.upstream_values,
        session=(lambda: open_session(spec, notes)) if spec.spark_remote else None,
        report=report,
    )


def open_session(spec: AttemptSpec, notes: Touched | None = None) -> SparkSession:
    """Open a session of an attempt; what it reads and writes goes into ``notes``."""
    from wfengine.spark import session

    return session.connect(
        spec.spark_remote,
        warehouse=Path(spec.warehouse),
        base=Path(spec.base),
        identity=spec.identity,
        log=log.get(task=spec.identity.task_key),
        touched=notes,
    )


def _text(value: object) -> str:
    """Return a parameter as text: what is no text in the job file is written as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _close_session(context: TaskContext[msgspec.Struct]) -> None:
    if not context.spark_started:
        return
    from wfengine.spark import session

    try:
        session.close(context.spark)
    except Exception as error:  # noqa: BLE001 - the outcome of the task stands, whatever the goodbye
        context.log.warning("the Spark session could not be closed", error=str(error))


def _check_expectations(spec: AttemptSpec, context: TaskContext[msgspec.Struct], record: Record) -> None:
    """Check what the job file expects of the tables, and keep the outcome with the facts."""
    from wfengine.spark import expectations

    checked: list[ExpectationFact] = expectations.check(context.spark, context.tables, spec.expect)
    record.facts = msgspec.structs.replace(record.facts, expectations=(*record.facts.expectations, *checked))
    broken = [fact for fact in checked if not fact.passed and fact.on_fail == "fail"]
    if broken:
        raise TaskFailed("; ".join(f"expectation {fact.name!r} is not met: {fact.message}" for fact in broken))


def _plain(facts: Facts) -> object:
    try:
        return msgspec.to_builtins(facts)
    except TypeError as error:
        raise TaskFailed(f"the facts cannot be reported: {error}") from error


def check_json(what: str, value: object, limit: int = JSON_LIMIT) -> None:
    """Raise TaskFailed when ``value`` is not JSON or has more than ``limit`` bytes as JSON."""
    try:
        size = len(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskFailed(f"{what} is not JSON: {error}") from error
    if size > limit:
        raise TaskFailed(f"{what} has {size} bytes as JSON; at most {limit} are allowed: write it to a table")


def _traceback(error: BaseException) -> str:
    """Format the traceback from the first frame of the user's code on, or whole when there is none."""
    start = error.__traceback__
    while start is not None and _package(start) in _OWN:
        start = start.tb_next
    return "".join(traceback.format_exception(type(error), error, start or error.__traceback__))


def _package(frame: TracebackType) -> str:
    name = frame.tb_frame.f_globals.get("__name__") or ""
    return str(name).partition(".")[0]


def _where(error: BaseException, spec: AttemptSpec) -> str:
    """Return the innermost line of the project's own files that was running, relative to the job file's folder."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        path = Path(frame.f_code.co_filename)
        for folder in (spec.base, spec.root):
            if path.is_relative_to(folder):
                return f"{path.relative_to(folder)}:{line}"
    return ""


def _summary(error: BaseException) -> str:
    """Return the last line of the traceback, as in ``ValueError: no such column``."""
    *_, last = traceback.format_exception_only(type(error), error)
    return _cut(last.strip(), _MESSAGE_LIMIT)


def _cut(text: str, limit: int) -> str:
    """Shorten a text in the middle, since its ends say most."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
