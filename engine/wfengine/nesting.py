"""Jobs that start other jobs: how deep that may go (docs/semantics.md, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from wfengine.errors import Fault, WfengineError
from wfengine.jobs import Job, Task

#: Jobs that may start each other in a chain, the first one included.
LEVELS = 3

#: Given the job whose task names another one, and the name, returns the other; raises WfengineError.
Find = Callable[[Job, str], Job]


def wanted(config: Mapping[str, Any]) -> str:
    """Return the name, key or id of the job that a run_job task is about."""
    return str(config.get("job_id") or config.get("job_name") or "")


def refusal(chain: Sequence[str]) -> str:
    """Say why the last job of a chain, in which each starts the next, may not be run; empty when it may."""
    told = " -> ".join(chain)
    if chain[-1] in chain[:-1]:
        return f"jobs would start each other without end: {told}"
    if len(chain) > LEVELS:
        return f"jobs may start each other over at most {LEVELS} levels, and this is one more: {told}"
    return ""


def faults(job: Job, find: Find) -> list[Fault]:
    """Return what can be seen of endless and too long chains before a run; jobs that cannot be found are left out."""
    return [
        Fault(path=job.path, field=f"tasks[{index}].{task.kind}_task", message=reason)
        for index, task in enumerate(job.tasks)
        if (reason := _along(job, task, find, [job.name]))
    ]


def _along(job: Job, task: Task, find: Find, chain: list[str]) -> str:
    """Follow what a task of ``job`` starts; ``chain`` are the jobs from the first to this one."""
    for name in _names(task):
        try:
            other = find(job, name)
        except WfengineError:  # the run says so, if it is not there by then
            continue
        longer = [*chain, other.name]
        reason = refusal(longer) or next(filter(None, (_along(other, each, find, longer) for each in other.tasks)), "")
        if reason:
            return reason
    return ""


def _names(task: Task) -> Iterator[str]:
    """Yield the job that a task names, unless that is known in the run only."""
    inner = task.nested or task
    if inner.kind == "run_job" and "{{" not in wanted(inner.config):
        yield wanted(inner.config)
