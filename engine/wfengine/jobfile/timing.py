"""Check what starts a job: the shapes of schedule, trigger and continuous that single fields cannot show."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from wfengine.jobfile.check import Checker
from wfengine.jobfile.nodes import Map, Scalar, is_null

STARTERS = ("schedule", "trigger", "continuous")
TRIGGERS = ("periodic", "file_arrival", "table_update")
EXPRESSIONS = ("quartz_cron_expression", "cron")


def check(checker: Checker, node: Map) -> None:
    """Note the faults of what starts the job ``node``; cron expressions are counted, not evaluated."""
    given = _given(node, STARTERS)
    if len(given) > 1:
        place = node.entries[given[1]][0]
        checker.fault(place, given[1], f"a job has only one of {', '.join(STARTERS)}", "remove the others", value="")
    trigger = node.get("trigger")
    if isinstance(trigger, Map):
        _one_of(checker, trigger, "trigger", TRIGGERS)
    schedule = node.get("schedule")
    if isinstance(schedule, Map):
        if _one_of(checker, schedule, "schedule", EXPRESSIONS):
            _count(checker, schedule)
        _zone(checker, schedule)


def _given(node: Map, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in node.entries and not is_null(node.entries[name][1])]


def _one_of(checker: Checker, node: Map, field: str, names: tuple[str, ...]) -> bool:
    given = _given(node, names)
    if len(given) == 1:
        return True
    found = f", not {' and '.join(given)}" if given else ""
    checker.fault(node, field, f"should have exactly one of {', '.join(names)}{found}")
    return False


def _count(checker: Checker, schedule: Map) -> None:
    for name, counts, words in ((EXPRESSIONS[0], (6, 7), "6 or 7"), (EXPRESSIONS[1], (5,), "5")):
        text = schedule.get(name)
        if isinstance(text, Scalar) and not is_null(text) and (fields := len(text.text.split())) not in counts:
            other = next((key for key in EXPRESSIONS if key != name and fields in (5, 6, 7)), "")
            hint = f"{other} takes that many" if other and (fields == 5) == (other == "cron") else ""
            checker.fault(text, f"schedule.{name}", f"should have {words} fields, has {fields}", hint)


def _zone(checker: Checker, schedule: Map) -> None:
    zone = schedule.get("timezone_id")
    if not isinstance(zone, Scalar) or is_null(zone) or zone.text == "UTC":
        return
    try:
        ZoneInfo(zone.text)
    except (KeyError, ValueError, OSError):
        hint = checker.suggest(zone.text, available_timezones())
        checker.fault(zone, "schedule.timezone_id", "is not a time zone of the IANA list", hint)
