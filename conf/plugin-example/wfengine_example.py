"""A whole plugin: a layer used in job files as ``freshness_task``, and a notifier that writes failures to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec

from wfengine import Facts, Layer, TaskContext, TaskFailed, TaskResult, hookimpl


class FreshnessConfig(msgspec.Struct, forbid_unknown_fields=True):
    """Which files must be there, and how many of them."""

    folder: str
    pattern: str = "*.csv"
    at_least: int = 1


class Freshness(Layer[FreshnessConfig]):
    """Fail unless a folder holds enough files; put it before a bronze task."""

    name = "freshness"
    Config = FreshnessConfig

    def run(self, context: TaskContext[FreshnessConfig]) -> TaskResult:
        """Count the files."""
        config = context.config
        found = sorted(path.name for path in context.path(config.folder).glob(config.pattern))
        if len(found) < config.at_least:
            raise TaskFailed(f"{config.folder} holds {len(found)} files like {config.pattern}, not {config.at_least}")
        context.set_value("newest", found[-1] if found else "")
        return TaskResult(output={"files": len(found)}, facts=Facts(metrics={"files": len(found)}))


@hookimpl
def register_layers() -> list[type[Layer[FreshnessConfig]]]:
    """Offer the layer."""
    return [Freshness]


@hookimpl
def on_event(event: object, delivery_id: str) -> None:
    """Append runs that failed to the file that FAILURES_FILE names; the delivery id tells repetitions apart."""
    told = msgspec.to_builtins(event)
    if told["kind"] == "run_ended" and told["result"] == "FAILED" and "FAILURES_FILE" in os.environ:
        with Path(os.environ["FAILURES_FILE"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"id": delivery_id, "job": told["job_name"], "tasks": told["failed_tasks"]}) + "\n")
