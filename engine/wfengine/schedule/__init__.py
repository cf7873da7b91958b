"""When a job is due: cron expressions, time zones, daylight saving, catching up (docs/semantics.md, section 7).

Everything here is pure: times come in as epoch milliseconds and go out as epoch milliseconds.
"""

from __future__ import annotations

from wfengine.errors import ScheduleError
from wfengine.jobs import Schedule
from wfengine.schedule import cron, quartz
from wfengine.schedule.catchup import POLICIES, CatchUp, MissedRange, catch_up
from wfengine.schedule.due import Calendar, Due, Periodic, every
from wfengine.schedule.zones import Zone

__all__ = ["POLICIES", "CatchUp", "Due", "MissedRange", "Periodic", "Zone", "catch_up", "compile", "every"]


def compile(schedule: Schedule, now: int = 0) -> Calendar:  # noqa: A001 - it is read as schedule.compile
    """Turn a schedule into the ticks it is due at; ``pause_status`` is the caller's business.

    Raises ScheduleError for an unknown time zone, for an expression that Quartz or cron refuses, and for one that
    never fires after ``now`` (epoch milliseconds).
    """
    quartz_expression, unix_expression = schedule.quartz_cron_expression, schedule.cron
    if bool(quartz_expression) == bool(unix_expression):
        raise ScheduleError("schedule", "should have exactly one of quartz_cron_expression, cron")
    zone = Zone(schedule.timezone_id)
    parsed = quartz.parse(quartz_expression) if quartz_expression else cron.parse(unix_expression)
    due = Calendar(parsed, zone)
    if due.next_after(now) is None:
        field = "schedule.quartz_cron_expression" if quartz_expression else "schedule.cron"
        ever = due.next_after(0) is not None
        message = "fires only in the past" if ever else "names no day that exists, so it never fires"
        raise ScheduleError(field, message, "name later years" if ever else "look at its days and months")
    return due
