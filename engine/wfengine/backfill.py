"""The steps of a backfill: which instants a range and a step name, and what each run is known by."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

import msgspec

from wfengine.errors import UsageError, shown

#: Runs that one backfill may have.
MOST = 10_000
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


def instant(text: str) -> int:
    """Read an ISO date or time in epoch milliseconds, UTC unless it says otherwise; UsageError when it is none."""
    try:
        # Python 3.10 does not read the Z.
        found = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        raise UsageError(
            f"{shown(text)!r} is no date or time: write 2026-01-31, or 2026-01-31T06:00 (UTC), or with an offset"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone.utc)
    return int(found.timestamp() * 1000)


def length(text: str) -> int:
    """Read a step such as ``1d``, ``12h``, ``30m`` or ``1w`` in milliseconds; UsageError when it is none."""
    match = re.fullmatch(r"([0-9]{1,6})([mhdw])", text.strip())
    if not match or int(match[1]) == 0:
        raise UsageError(f"{shown(text)!r} is no step: write a number with m, h, d or w, as in 1d or 12h")
    return int(match[1]) * _UNITS[match[2]]


def instants(start: int, end: int, step: int) -> range:
    """Return the instants from ``start`` in epoch milliseconds, ``end`` included if it is one of them.

    Raises UsageError when there is none, or more than 10,000.
    """
    if end < start:
        raise UsageError("the range ends before it starts: no run would be made")
    found = range(start, end + 1, step)
    if len(found) > MOST:
        raise UsageError(
            f"the range has {len(found)} steps; at most {MOST} are allowed: use a longer step or two ranges"
        )
    return found


def default_name(parameters: Mapping[str, str], only: Sequence[str], step: int) -> str:
    """Name a backfill by what its runs have in common, so that the same command goes on where it was stopped."""
    return _digest([sorted(parameters.items()), list(only), step])


def token(job_name: str, name: str, at: int) -> str:
    """Return the idempotency token of one step of a backfill."""
    return f"backfill-{_digest([job_name, name, at])}"


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:40]
