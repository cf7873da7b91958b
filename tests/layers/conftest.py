"""What the tests of layers share: a context like the worker's, without a worker, and the raw reader on one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from medallion import Project

from wfengine import log
from wfengine.layer import TaskContext, TaskIdentity
from wfengine_layers.raw import FileOutcome


@pytest.fixture
def context_for(tmp_path: Path) -> Callable[..., TaskContext[Any]]:
    """Build the context of one attempt whose job file stands in ``<project>/conf``."""
    root = tmp_path / "project"
    base = root / "conf"
    base.mkdir(parents=True)

    def build(config: Any, parameters: Mapping[str, str] | None = None, **more: Any) -> TaskContext[Any]:
        return TaskContext(
            config=config,
            identity=TaskIdentity(job_id=1, job_name="job", run_id=2, task_key="task", task_run_id=3),
            parameters=parameters or {},
            log=log.get(),
            scratch=tmp_path / "scratch",
            base=base,
            root=root,
            warehouse=root / "warehouse",
            **more,
        )

    return build


class RawResult(NamedTuple):
    """What the raw reader made of one file, read back from its pieces."""

    outcome: FileOutcome
    #: Data columns as dictionaries, in order.
    rows: list[dict[str, Any]]
    #: Line number of each row.
    numbers: list[int]
    #: Line number, record and reason of each reject.
    rejects: list[tuple[int, str, str]]


@pytest.fixture
def read_raw(tmp_path: Path) -> Callable[..., RawResult]:
    """Write a file, read it with the raw reader, and check that every physical line is accounted for."""

    def read(
        name: str, content: bytes, *, columns: Sequence[str] | None = None, block_size: int = 8 << 20, **options: object
    ) -> RawResult:
        import pyarrow.parquet as pq

        from wfengine_layers.raw import discover, raw_source, read_file

        path = tmp_path / name
        path.write_bytes(content)
        sink = tmp_path / "sink"
        sink.mkdir(exist_ok=True)
        outcome = read_file(discover(path, None)[0], raw_source(options, columns), sink=sink, block_size=block_size)
        rows = [row for file in outcome.rows_files for row in pq.read_table(file).to_pylist()]
        rejects = [row for file in outcome.rejects_files for row in pq.read_table(file).to_pylist()]
        assert len(rows) == outcome.rows
        assert len(rejects) == outcome.rejects
        assert all(row["_source_file"].startswith(str(path)) for row in rows + rejects)
        return RawResult(
            outcome,
            [{name: value for name, value in row.items() if name not in ("_source_file", "_line")} for row in rows],
            [row["_line"] for row in rows],
            [(row["_line"], row["_record"], row["_reason"]) for row in rejects],
        )

    return read


@pytest.fixture
def project(connect: Callable[..., Any], tmp_path: Path) -> Project:
    """A project whose medallion tasks run on the default engine."""
    opened: list[Any] = []

    def session() -> Any:
        if not opened:
            opened.append(connect())
        return opened[0]

    return Project(tmp_path, session)
