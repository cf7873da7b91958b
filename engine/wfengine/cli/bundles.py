"""What people see of a bundle: its jobs, their tasks, and what cannot run here."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from wfengine.cli import options
from wfengine.errors import Fault, JobFileError, shown
from wfengine.jobfile.bundle.listing import Bundle, BundleJob


def report(bundle: Bundle, output: str) -> int:
    """Print what ``wfengine validate`` says of a bundle; returns the exit code.

    What only cannot run here is listed and is no fault: the bundle is good, and its other jobs run.
    """
    faults = list(bundle.faults)
    if output == "json":
        options.print_json(_document(bundle, faults))
    else:
        for warning in bundle.warnings:
            click.echo(f"warning: {warning}", err=True)
        _listing(bundle)
        if faults:
            click.echo(f"wfengine: {JobFileError(faults)}", err=True)
    return JobFileError.exit_code if faults else 0


def _listing(bundle: Bundle) -> None:
    count = len(bundle.listed)
    jobs = f"{count} job{'' if count == 1 else 's'}"
    click.echo(f"{bundle.path}: bundle {shown(bundle.name)!r}, target {shown(bundle.target)!r}, {jobs}")
    for job in bundle.listed:
        click.echo(f"{shown(job.key)}  {shown(job.name)!r}  {job.path}:{job.line}  {_state(job, bundle)}")
        width = max((len(shown(task.task_key)) for task in job.tasks), default=0)
        for task in job.tasks:
            kind = f"{shown(task.kind)}_task" if task.kind else "no kind"
            click.echo(f"  {shown(task.task_key):<{width}}  {kind}  {task.path}:{task.line}")
        for fault in job.unsupported:
            click.echo(f"  cannot run here: {fault}")


def _state(job: BundleJob, bundle: Bundle) -> str:
    if job.faults:
        return f"has {len(job.faults)} fault{'' if len(job.faults) == 1 else 's'}"
    if bundle.own_faults:
        return "cannot run before the bundle's own faults are mended"
    return "can run" if job.runs else "cannot run here"


def _document(bundle: Bundle, faults: list[Fault]) -> dict[str, Any]:
    return {
        "valid": not faults,
        "faults": faults,
        "warnings": bundle.warnings,
        "bundle": {
            "name": bundle.name,
            "target": bundle.target,
            "path": bundle.path,
            "jobs": [
                {
                    "key": job.key,
                    "name": job.name,
                    "path": job.path,
                    "line": job.line,
                    "runs": job.runs and not bundle.own_faults,
                    "tasks": msgspec.to_builtins(job.tasks),
                    "cannot_run": msgspec.to_builtins(job.unsupported),
                    "job": job.job,
                }
                for job in bundle.listed
            ],
        },
    }
