"""Check what starts a job: the shapes of schedule, trigger and continuous that single fields cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wfengine.clock import SystemClock
from wfengine.errors import ScheduleError
from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Scalar, is_null
from wfengine.jobs import Schedule
from wfengine.schedule import Zone
from wfengine.schedule import compile as compile_schedule

STARTERS = ("schedule", "trigger", "continuous")
TRIGGERS = ("periodic", "file_arrival", "table_update")
EXPRESSIONS = ("quartz_cron_expression", "cron")


def check(checker: Checker, node: Map) -> None:
    """Note the faults of what starts the job ``node``."""
    given = _given(node, STARTERS)
    if len(given) > 1:
        place = node.entries[given[1]][0]
        checker.fault(place, given[1], f"a job has only one of {', '.join(STARTERS)}", "remove the others", value="")
    trigger = node.get("trigger")
    if isinstance(trigger, Map):
        _one_of(checker, trigger, "trigger", TRIGGERS)
    schedule = node.get("schedule")
    if isinstance(schedule, Map):
        _one_of(checker, schedule, "schedule", EXPRESSIONS)
        _ticks(checker, schedule)


def _given(node: Map, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in node.entries and not is_null(node.entries[name][1])]


def _one_of(checker: Checker, node: Map, field: str, names: tuple[str, ...]) -> None:
    given = _given(node, names)
    if len(given) != 1:
        found = f", not {' and '.join(given)}" if given else ""
        checker.fault(node, field, f"should have exactly one of {', '.join(names)}{found}")


def _ticks(checker: Checker, schedule: Map) -> None:
    """Note what is wrong with the time zone and with the expression, or that it will never fire again."""
    expression = {name: node.text for name in EXPRESSIONS if (node := _text(schedule, name))}
    if len(expression) != 1:  # noted already; the zone is looked at all the same
        expression = {"cron": "* * * * *"}
    with _noting(checker, schedule):
        compile_schedule(Schedule(**expression), SystemClock().now_ms())
    with _noting(checker, schedule):
        if zone := _text(schedule, "timezone_id"):
            Zone(zone.text)


@contextmanager
def _noting(checker: Checker, schedule: Map) -> Iterator[None]:
    try:
        yield
    except ScheduleError as error:
        place = _text(schedule, error.field.removeprefix("schedule.")) or schedule
        checker.fault(place, error.field, error.message, error.hint)


def _text(schedule: Map, name: str) -> Scalar | None:
    node = schedule.get(name)
    return node if isinstance(node, Scalar) and not is_null(node) else None
