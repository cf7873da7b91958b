"""The stamp that an attempt leaves in the ``userMetadata`` of its commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from wfengine.runs import TaskIdentity

#: Environment variable that holds the stamp, for code that writes tables without Spark.
VARIABLE = "WFENGINE_STAMP"


def text(identity: TaskIdentity) -> str:
    """Return the stamp of an attempt; its trigger time tells runs of different homes apart."""
    who: dict[str, object] = {
        "run": identity.run_id,
        "task": identity.task_key,
        "attempt": identity.attempt_number,
        "at": identity.trigger_time,
    }
    if identity.iteration >= 0:
        who["iteration"] = identity.iteration
    return msgspec.json.encode(who).decode()


def properties(stamp: str) -> Any:
    """Return what makes the deltalake library put the stamp on a commit."""
    import deltalake

    return deltalake.CommitProperties(custom_metadata={"userMetadata": stamp})
