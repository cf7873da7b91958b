"""Rows of the state file to frozen data and back; JSON only, null for what is empty."""

from __future__ import annotations

from typing import Any

import msgspec

from wfengine.events import AnyEvent
from wfengine.jobs import Job
from wfengine.runs import Attempt, ErrorInfo, Facts, Fingerprint, JobRun, Repair
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store.database import Row

_NO_FACTS = Facts()
_encoder = msgspec.json.Encoder()
_facts = msgspec.json.Decoder(Facts)
_error = msgspec.json.Decoder(ErrorInfo)
_fingerprint = msgspec.json.Decoder(Fingerprint)
_event: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_job = msgspec.json.Decoder(Job)
_strings = msgspec.json.Decoder(dict[str, str])
_paths = msgspec.json.Decoder(tuple[str, ...])
_any = msgspec.json.Decoder()


def encode(value: Any) -> str:
    """Write a value as JSON text."""
    return _encoder.encode(value).decode()


def encode_or_null(value: Any) -> str | None:
    """Write a value as JSON text; None for what is empty."""
    return None if value is None or value == _NO_FACTS or value in ({}, (), []) else encode(value)


def decode_any(text: str | None) -> Any:
    """Read JSON values back; None for null."""
    return None if text is None else _any.decode(text)


def decode_event(text: str) -> AnyEvent:
    """Read an event back."""
    return _event.decode(text)


def decode_job(text: str) -> Job:
    """Read a job back."""
    return _job.decode(text)


def decode_snapshot(row: Row) -> tuple[Job, tuple[str, ...]]:
    """Read a job and the folders allowed to its run."""
    return _job.decode(row["job"]), _paths.decode(row["allowed"] or "[]")


def to_attempt(row: Row) -> Attempt:
    """Read an attempt."""
    return Attempt(
        run_id=row["task_run_id"],
        task_key=row["task_key"],
        attempt_number=row["attempt_number"],
        iteration=row["iteration"],
        state=LifeCycle(row["state"]),
        result=_result(row["result"]),
        message=row["message"] or "",
        start_time=row["start_time"],
        end_time=row["end_time"],
        not_before=row["not_before"],
        outcome=row["outcome"],
        error=_error.decode(row["error"]) if row["error"] else None,
        facts=_facts.decode(row["facts"]) if row["facts"] else _NO_FACTS,
        resolved=_any.decode(row["resolved"] or "{}"),
        output=_any.decode(row["output"] or "null"),
        values=_any.decode(row["task_values"] or "{}"),
        pid=row["pid"],
        fingerprint=_fingerprint.decode(row["fingerprint"]) if row["fingerprint"] else None,
    )


def to_repair(row: Row) -> Repair:
    """Read a repair."""
    return Repair(
        repair_id=row["repair_id"],
        asked_at=row["asked_at"],
        state=LifeCycle(row["state"]),
        result=_result(row["result"]),
        message=row["message"] or "",
        start_time=row["start_time"],
        end_time=row["end_time"],
        parameters=_strings.decode(row["parameters"] or "{}"),
    )


def to_run(row: Row, attempts: list[Row], repairs: list[Row], iterations: list[Row]) -> JobRun:
    """Read a run with its attempts, its repairs and the attempts of its iterations."""
    return JobRun(
        run_id=row["run_id"],
        job_id=row["job_id"],
        job_name=row["job_name"],
        number_in_job=row["number_in_job"],
        state=LifeCycle(row["state"]),
        result=_result(row["result"]),
        message=row["message"] or "",
        trigger=Trigger(row["trigger_type"]),
        trigger_time=row["trigger_time"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        parameters=_strings.decode(row["parameters"] or "{}"),
        attempts=tuple(to_attempt(attempt) for attempt in attempts),
        iterations=tuple(to_attempt(attempt) for attempt in iterations),
        idempotency_token=row["idempotency_token"],
        repair_count=row["repair_count"],
        parent_run_id=row["parent_run_id"],
        parent_task_run_id=row["parent_task_run_id"],
        repairs=tuple(to_repair(repair) for repair in repairs),
        backfill=row["backfill"],
    )


def _result(text: str | None) -> Result | None:
    return Result(text) if text else None
