"""A schedule in words for people."""

from __future__ import annotations

from wfengine.schedule.days import MONTHS, spans
from wfengine.schedule.local import LocalTimes

_FEW = 4


def said(times: LocalTimes) -> str:
    """Say as in ``at 02:15 on Monday to Friday``; empty when there are no simple words for the time of day."""
    clock = _clock(times)
    if not clock:
        return ""
    parts = [clock, times.days.words()]
    if len(times.months) < len(MONTHS):
        parts.append(f"in {spans(times.months, lambda month: MONTHS[month - 1])}")
    if times.years:
        parts.append(f"in {spans(times.years, str)}")
    return " ".join(part for part in parts if part)


def _clock(times: LocalTimes) -> str:
    seconds, minutes, hours = times.seconds, times.minutes, times.hours
    if len(seconds) * len(minutes) * len(hours) <= _FEW:
        return f"at {_listed([_time(h, m, s) for h in hours for m in minutes for s in seconds])}"
    if len(minutes) == 60 and len(hours) == 24 and (every := _step(seconds, 60)):
        return _every(every, "second")
    if len(seconds) > 1:
        return ""
    second = f" at second {seconds[0]}" if seconds[0] else ""
    every_minute, every_hour = _step(minutes, 60), _step(hours, 24)
    if every_minute and len(hours) == 24:
        return _every(every_minute, "minute") + second
    if every_minute and _run(hours):
        return f"{_every(every_minute, 'minute')}{second} from {_time(hours[0], 0, 0)} to {_time(hours[-1], 59, 0)}"
    if len(minutes) > _FEW:
        return ""
    past = "" if minutes == (0,) and not second else f" at {_listed([f':{_two(m)}' for m in minutes])}{second}"
    if every_hour:
        return _every(every_hour, "hour") + past
    if _run(hours):
        return f"every hour{past} from {_two(hours[0])} to {_two(hours[-1])} o'clock"
    return ""


def _step(numbers: tuple[int, ...], size: int) -> int:
    """Return n when the numbers are every n-th from 0 on and n divides ``size``, else 0; 0 too for one number."""
    step = size // len(numbers)
    return step if len(numbers) > 1 and numbers == tuple(range(0, size, step)) and size % step == 0 else 0


def _run(numbers: tuple[int, ...]) -> bool:
    return numbers == tuple(range(numbers[0], numbers[-1] + 1))


def _every(step: int, unit: str) -> str:
    return f"every {unit}" if step == 1 else f"every {step} {unit}s"


def _time(hour: int, minute: int, second: int) -> str:
    return f"{_two(hour)}:{_two(minute)}" + (f":{_two(second)}" if second else "")


def _two(number: int) -> str:
    return f"{number:02d}"


def _listed(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
