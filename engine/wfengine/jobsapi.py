"""Runs in the shapes of the Databricks Jobs API 2.2 (docs/semantics.md, section 11).

What we add stands under ``wfengine``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from wfengine.jobs import CONTROL, Job, Task
from wfengine.runs import Attempt, JobRun, Repair
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
        **_progress(run.state, run.result, run.message, _first_start(run), run.end_time),
        "trigger": str(run.trigger),
        "job_parameters": [
            {"name": name, "default": defaults.get(name, ""), "value": value} for name, value in run.parameters.items()
        ],
        **({"trigger_info": {"run_id": run.parent_task_run_id}} if run.parent_task_run_id else {}),
        "tasks": [_task_json(attempt, tasks.get(attempt.task_key), run) for attempt in run.attempts],
        "repair_history": _history(run),
        "wfengine": {
            "trigger_time": run.trigger_time,
            "repair_count": run.repair_count,
            "backfill": run.backfill,
            "parent_run_id": run.parent_run_id,
            "idempotency_token": run.idempotency_token,
            "job_file": job.path,
            "ignored_fields": list(job.ignored),
        },
    }


def _first_start(run: JobRun) -> int | None:
    return run.repairs[0].start_time if run.repairs else run.start_time


def _history(run: JobRun) -> list[dict[str, Any]]:
    """Return what was executed at first and by each repair; empty for a run that was never repaired."""
    if not run.repairs:
        return []
    # Attempts of one time have ids between that of its repair and that of the next.
    bounds = [0, *(repair.repair_id for repair in run.repairs), sys.maxsize]
    items = []
    times: list[Repair | JobRun] = [*run.repairs, run]
    for number, stood in enumerate(times):
        ids = [a.run_id for a in run.attempts if bounds[number] < a.run_id < bounds[number + 1]]
        items.append(
            {
                "type": "REPAIR" if number else "ORIGINAL",
                **({"id": bounds[number]} if number else {}),
                **_progress(stood.state, stood.result, stood.message, stood.start_time, stood.end_time),
                "task_run_ids": ids,
            }
        )
    return items


def _task_json(attempt: Attempt, task: Task | None, run: JobRun) -> dict[str, Any]:
    """Return one attempt; ``task`` is None when a repair came with a job that no longer has it."""
    found = _attempt_json(attempt, task)
    if task and task.kind in CONTROL:
        found[f"{task.kind}_task"] = _CONTROLS[task.kind](attempt, task, run)
    if task and task.nested:
        # What a repair does again is the same iterations, so they are told with the last attempt alone.
        last = run.latest()[attempt.task_key].run_id == attempt.run_id
        iterations = [each for each in run.iterations if each.task_key == attempt.task_key] if last else []
        found["wfengine"]["iterations"] = [
            {
                "iteration": each.iteration,
                **_attempt_json(each, None),
                "resolved_values": {f"{task.nested.kind}_task": each.resolved or task.nested.config},
            }
            for each in iterations
        ]
    if task and task.kind == "run_job" and isinstance(attempt.output, dict):
        found["wfengine"]["run_job_output"] = {"run_id": attempt.output.get("run_id")}
    return found


def _condition_json(attempt: Attempt, task: Task, run: JobRun) -> dict[str, Any]:
    outcome = {"outcome": attempt.outcome} if attempt.outcome else {}
    return {**task.config, **outcome}


def _for_each_json(attempt: Attempt, task: Task, run: JobRun) -> dict[str, Any]:
    nested, given = task.nested, task.config.get("inputs")
    inner = {"task_key": nested.task_key, f"{nested.kind}_task": nested.config} if nested else {}
    return {
        "inputs": given if isinstance(given, str) else msgspec.json.encode(given).decode(),
        "concurrency": task.config.get("concurrency", 1),
        "task": inner,
        "stats": _stats(run.iterated(task.task_key)),
    }


def _run_job_json(attempt: Attempt, task: Task, run: JobRun) -> dict[str, Any]:
    wanted = (attempt.output or {}).get("job_id") or task.config.get("job_id") or task.config.get("job_name")
    return {"job_parameters": {}, **task.config, "job_id": wanted}


_CONTROLS = {"condition": _condition_json, "for_each": _for_each_json, "run_job": _run_job_json}


def _stats(iterations: Sequence[Attempt]) -> dict[str, Any]:
    """Count the iterations of a for_each, and the messages of those that did not succeed."""
    ended = [each for each in iterations if each.state.ended]
    bad = Counter(each.message for each in ended if each.result is not Result.SUCCESS)
    going = sum(1 for each in iterations if each.state in (LifeCycle.RUNNING, LifeCycle.TERMINATING))
    return {
        "error_message_stats": [{"count": count, "error_message": text} for text, count in bad.most_common(10)],
        "task_run_stats": {
            "active_iterations": going,
            "completed_iterations": len(ended),
            "failed_iterations": sum(bad.values()),
            "scheduled_iterations": len(iterations),
            "succeeded_iterations": len(ended) - sum(bad.values()),
            "total_iterations": len(iterations),
        },
    }


def _attempt_json(attempt: Attempt, task: Task | None) -> dict[str, Any]:
    return {
        "task_key": attempt.task_key,
        "run_id": attempt.run_id,
        "attempt_number": attempt.attempt_number,
        **_progress(attempt.state, attempt.result, attempt.message, attempt.start_time, attempt.end_time),
        **(_config_json(attempt, task) if task else {}),
        "wfengine": {
            "facts": msgspec.to_builtins(attempt.facts),
            "error": msgspec.to_builtins(attempt.error),
            "output": attempt.output,
            "values": attempt.values,
            "not_before": attempt.not_before,
        },
    }


def _config_json(attempt: Attempt, task: Task) -> dict[str, Any]:
    kind = f"{task.kind}_task"
    return {
        "depends_on": msgspec.to_builtins(task.depends_on),
        "run_if": str(task.run_if),
        "description": task.description,
        "disabled": task.disabled,
        "timeout_seconds": task.timeout_seconds,
        "max_retries": task.max_retries,
        "min_retry_interval_millis": task.min_retry_interval_millis,
        "retry_on_timeout": task.retry_on_timeout,
        "resolved_values": {kind: attempt.resolved or task.config},
        kind: task.config,
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
