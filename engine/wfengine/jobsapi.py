"""Runs in the shapes of the Databricks Jobs API 2.2 (docs/semantics.md, section 11).

What we add stands under ``wfengine``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from wfengine.jobs import Job, Task
from wfengine.runs import Attempt, JobRun
from wfengine.states import LifeCycle, Result

#: Termination code and type of each result.
_TERMINATION = {
    Result.SUCCESS: ("SUCCESS", "SUCCESS"),
    Result.SUCCESS_WITH_FAILURES: ("SUCCESS_WITH_FAILURES", "SUCCESS"),
    Result.FAILED: ("RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    Result.TIMEDOUT: ("CANCELED", "CLIENT_ERROR"),
    Result.CANCELED: ("USER_CANCELED", "CLIENT_ERROR"),
    Result.EXCLUDED: ("SKIPPED", "SUCCESS"),
    Result.DISABLED: ("DISABLED", "SUCCESS"),
    Result.UPSTREAM_FAILED: ("SKIPPED", "CLIENT_ERROR"),
    Result.UPSTREAM_CANCELED: ("SKIPPED", "CLIENT_ERROR"),
    Result.MAXIMUM_CONCURRENT_RUNS_REACHED: ("MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR"),
}
#: States of version 1 that version 2 calls otherwise.
_STATUS = {
    LifeCycle.WAITING_FOR_RETRY: "WAITING",
    LifeCycle.SKIPPED: "TERMINATED",
    LifeCycle.INTERNAL_ERROR: "TERMINATED",
}


def run_json(run: JobRun, job: Job) -> dict[str, Any]:
    """Return a run as the API's Run object, one entry of ``tasks`` per attempt."""
    defaults = {parameter.name: parameter.default for parameter in job.parameters}
    tasks = {task.task_key: task for task in job.tasks}
    return {
        "job_id": run.job_id,
        "run_id": run.run_id,
        "run_name": run.job_name,
        "number_in_job": run.number_in_job,
        "original_attempt_run_id": run.run_id,
        "run_type": "JOB_RUN",
        **_progress(run.state, run.result, run.message, run.start_time, run.end_time),
        "trigger": str(run.trigger),
        "job_parameters": [
            {"name": name, "default": defaults.get(name, ""), "value": value} for name, value in run.parameters.items()
        ],
        "tasks": [_task_json(attempt, tasks[attempt.task_key]) for attempt in run.attempts],
        "repair_history": [],
        "wfengine": {
            "trigger_time": run.trigger_time,
            "repair_count": run.repair_count,
            "idempotency_token": run.idempotency_token,
            "job_file": job.path,
            "ignored_fields": list(job.ignored),
        },
    }


def _task_json(attempt: Attempt, task: Task) -> dict[str, Any]:
    kind = f"{task.kind}_task"
    return {
        "task_key": attempt.task_key,
        "run_id": attempt.run_id,
        "attempt_number": attempt.attempt_number,
        "depends_on": msgspec.to_builtins(task.depends_on),
        "run_if": str(task.run_if),
        "description": task.description,
        "disabled": task.disabled,
        "timeout_seconds": task.timeout_seconds,
        "max_retries": task.max_retries,
        "min_retry_interval_millis": task.min_retry_interval_millis,
        "retry_on_timeout": task.retry_on_timeout,
        **_progress(attempt.state, attempt.result, attempt.message, attempt.start_time, attempt.end_time),
        "resolved_values": {kind: attempt.resolved or task.config},
        kind: task.config,
        "wfengine": {
            "facts": msgspec.to_builtins(attempt.facts),
            "error": msgspec.to_builtins(attempt.error),
            "output": attempt.output,
            "values": attempt.values,
            "not_before": attempt.not_before,
        },
    }


def _progress(
    state: LifeCycle, result: Result | None, message: str, start: int | None, end: int | None
) -> dict[str, Any]:
    """Return the fields that say how far a run or an attempt is, in both versions of the API."""
    old: dict[str, Any] = {"life_cycle_state": str(state), "state_message": message}
    new: dict[str, Any] = {"state": _STATUS.get(state, str(state))}
    if result is not None:
        old["result_state"] = str(result)
        old["user_cancelled_or_timedout"] = result in (Result.CANCELED, Result.TIMEDOUT)
        code, kind = _TERMINATION[result]
        if state is LifeCycle.INTERNAL_ERROR:
            code, kind = "INTERNAL_ERROR", "INTERNAL_ERROR"
        new["termination_details"] = {"code": code, "type": kind, "message": message}
    fields: dict[str, Any] = {"state": old, "status": new}
    if start is not None:
        fields["start_time"] = start
    if end is not None:
        fields["end_time"] = end
        fields["run_duration"] = fields["execution_duration"] = end - start if start is not None else 0
    return fields
