"""A project folder in which tests run the bronze, silver and gold layers as a worker does, and look at the tables.

Run as a script it makes processes die at failpoints: see ``test_medallion_crashes``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import msgspec

from wfengine import log
from wfengine.layer import Layer, TaskContext, TaskIdentity, TaskResult
from wfengine_layers.bronze import Bronze
from wfengine_layers.gold import Gold
from wfengine_layers.silver import Silver

LAYERS: dict[str, type[Layer[Any]]] = {"bronze": Bronze, "silver": Silver, "gold": Gold}


class Project:
    """A project whose job file and warehouse lie in one folder."""

    def __init__(self, root: Path, session: Callable[[], Any]) -> None:
        self.root = root
        self.warehouse = root / "warehouse"
        self._session = session
        self._attempts = 0

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def context(self, kind: str, config: dict[str, Any]) -> TaskContext[Any]:
        """The context of one more attempt of a task, its config checked as a job file's is."""
        self._attempts += 1
        layer = LAYERS[kind]
        made = msgspec.convert(config, layer.Config, strict=False, str_keys=True)
        assert layer.check(made, self.root) == []
        scratch = self.root / "scratch" / f"{os.getpid()}-{self._attempts}"
        scratch.mkdir(parents=True)
        return TaskContext(
            config=made,
            identity=TaskIdentity(job_id=1, job_name="job", run_id=2, task_key=kind, task_run_id=self._attempts),
            parameters={},
            log=log.get(),
            scratch=scratch,
            base=self.root,
            root=self.root,
            warehouse=self.warehouse,
            session=self._session,
        )

    def run(self, kind: str, **config: Any) -> TaskResult:
        return LAYERS[kind]().run(self.context(kind, config))

    def path(self, table: str) -> Path:
        return self.warehouse.joinpath(*table.split("."))

    def rows(self, table: str, *columns: str) -> list[Any]:
        """The rows of a table in a fixed order, as another Delta reader sees them; of one column its values."""
        found = deltalake.DeltaTable(str(self.path(table))).to_pyarrow_table().to_pylist()
        rows = [{column: row[column] for column in columns} if columns else row for row in found]
        return sorted(([row[columns[0]] for row in rows] if len(columns) == 1 else rows), key=repr)

    def version(self, table: str) -> int:
        return deltalake.DeltaTable(str(self.path(table))).version()

    def exists(self, table: str) -> bool:
        return (self.path(table) / "_delta_log").exists()

    def counts(self, result: TaskResult) -> tuple[int | None, ...]:
        """Rows read, written, rejected and duplicate."""
        facts = result.facts
        return facts.rows_read, facts.rows_written, facts.rows_rejected, facts.rows_duplicate


def faults(kind: str, **config: Any) -> list[tuple[str, str]]:
    """What the layer's own check says about a config."""
    made = msgspec.convert(config, LAYERS[kind].Config, str_keys=True)
    return LAYERS[kind].check(made, Path("/project"))


def die(url: str, root: Path, kind: str, config: dict[str, Any], place: str) -> int:
    """Run a task in a process of its own that dies at a failpoint; returns the signal, or the exit code negated."""
    from wfengine.failpoints import VARIABLE
    from wfengine.spark import session

    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ[VARIABLE] = place
            who = TaskIdentity(job_id=1, job_name="job", run_id=1, task_key=kind, task_run_id=1)
            spark = session.connect(url, warehouse=root / "warehouse", base=root, identity=who, log=log.get())
            Project(root, lambda: spark).run(kind, **config)
            code = 0
        finally:
            os._exit(code)
    return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    import wfengine.spark.session  # noqa: F401 - loaded once, before the forks

    ends = []
    for case in json.load(sys.stdin):
        folder = Path(case["root"])
        for name, content in case.get("files", {}).items():
            Project(folder, dict).write(name, content)
        ends.append(die(sys.argv[1], folder, case["kind"], case["config"], case["place"]))
    print(json.dumps(ends))
