"""The bronze layer: raw files into a table, every record once, and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from wfengine.clock import SystemClock, iso
from wfengine.failpoints import failpoint
from wfengine.layer import Layer, TaskContext, TaskResult
from wfengine.runs import Facts, TableFact
from wfengine.spark import deltalog, schemas
from wfengine.spark.tables import BATCH_COLUMN
from wfengine_layers import bronze_files, inputs, sqltext
from wfengine_layers.batches import add
from wfengine_layers.bronze_config import BronzeConfig
from wfengine_layers.bronze_files import Print
from wfengine_layers.bronze_stage import Staged, stage
from wfengine_layers.raw import RawFile, discover
from wfengine_layers.sentences import listed, speaking

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from wfengine.spark.ledger import Batch

Found = list[tuple[RawFile, Print]]


class Written(NamedTuple):
    """What one batch came to."""

    staged: Staged
    files: int
    facts: list[TableFact]


class Bronze(Layer[BronzeConfig]):
    """Ingest raw files exactly once; records that cannot be read go to the quarantine."""

    name = "bronze"
    Config = BronzeConfig
    needs_spark = True

    @classmethod
    def check(cls, config: BronzeConfig, folder: Path) -> list[tuple[str, str]]:
        """Find a schema that is none, unknown options, and a mode that the format cannot have."""
        return config.faults()

    def run(self, context: TaskContext[BronzeConfig]) -> TaskResult:
        """Finish batches that an earlier attempt left open, then ingest what is new."""
        config = context.config
        with speaking(f"table {config.table} cannot be written"):
            if config.format == "delta":
                return _result(config, [_copy(context)], [])
            skipped: list[str] = []
            files = discover(context.path(config.source), config.format or None, warn=skipped.append)
            ingest = Ingest(context)
            return _result(config, ingest.run(files), [*skipped, *ingest.warnings])


class Ingest:
    """One run over the files of a source: finish what was begun, then ingest what is new."""

    def __init__(self, context: TaskContext[BronzeConfig]) -> None:
        config = context.config
        self._context = context
        self._tables = context.tables
        self._table = inputs.located(context, config.table)
        self._quarantine = inputs.located(context, config.quarantine or f"{config.table}_quarantine")
        self._ledger = self._tables.ledger(self._table)
        #: Sentences about files, for the attempt's facts.
        self.warnings: list[str] = []

    def run(self, files: list[RawFile]) -> list[Written]:
        """Ingest the files that the mode asks for; without any new one nothing is made and nothing is touched."""
        full = self._context.config.mode == "full"
        if not files and (full or not self._ledger.path.exists()):
            return []
        with self._tables.lock(self._table):
            found = bronze_files.printed(files, self._context.root)
            # A full load replaces whatever an unfinished batch may have left.
            written = [] if full else [self._finish(batch) for batch in self._ledger.open_plans()]
            if not full:
                found, warnings = bronze_files.fresh(found, bronze_files.ingested(self._ledger.batches()))
                self.warnings += warnings
            return [*written, self._write_new(found)] if found else written

    def _write_new(self, found: Found) -> Written:
        """Read files, plan their batch, write it. Nothing is planned when a file cannot be read or does not fit."""
        config = self._context.config
        now = iso(SystemClock().now_ms())
        files = [one for _, one in found]
        staged = self._stage([file for file, _ in found], now, config.mode)
        plan = {"mode": config.mode, "ingested_at": now, "files": bronze_files.plain(files)}
        batch = self._ledger.plan(f"source {config.source}", **plan)
        failpoint("bronze.after_plan")
        written = self._write(batch, staged, files, replay=False)
        for older in self._ledger.open_plans():
            self._ledger.done(older.batch_id, superseded=batch.batch_id)
        return written

    def _finish(self, batch: Batch) -> Written:
        """Bring a batch that was planned and not confirmed to its end, with the same files, batch id and time.

        Files that are gone or changed meanwhile cannot be read again. If the table has rows of the batch it has all of
        them, because they were one commit; else the batch is written with the files that are still there. A file that
        changed is ingested as new content afterwards.
        """
        there, lost = bronze_files.planned(batch, self._context.root)
        staged = self._stage([file for file, _ in there], batch.data["ingested_at"], batch.data["mode"])
        files = [one for _, one in there]
        if lost:
            committed = self._tables.holds_batch(self._table, batch.batch_id)
            what = "they are not ingested"
            if committed:
                staged, files = staged._replace(rows=None), [*files, *lost]
                what = "their rows are in the table, and rejects not written by then are lost"
            names = listed([one.path for one in lost])
            self.warnings.append(f"files of an unfinished batch are gone or changed: {names}; {what}")
        return self._write(batch, staged, files, replay=True)

    def _stage(self, files: list[RawFile], ingested_at: str, mode: str) -> Staged:
        known = deltalog.snapshot(self._tables.path(self._table)) if mode == "append" else None
        columns = [field["name"] for field in known.schema["fields"]] if known else []
        staged = stage(self._context, files, ingested_at, columns)
        if known and staged.rows is not None:
            schemas.refuse_types(self._context.config.table, known, staged.rows.schema.jsonValue(), lossless=True)
        return staged

    def _write(self, batch: Batch, staged: Staged, files: list[Print], *, replay: bool) -> Written:
        """Write rows, then rejects, then the confirmation of a planned batch."""
        facts = self._put(self._table, "output", staged.rows, batch, replay)
        failpoint("bronze.after_data")
        facts += self._put(self._quarantine, "quarantine", staged.rejects, batch, replay)
        failpoint("bronze.after_quarantine")
        counts = {"rows": staged.read - staged.rejected, "rejected": staged.rejected}
        self._ledger.done(batch.batch_id, files=bronze_files.plain(files), **counts)
        failpoint("bronze.after_done")
        return Written(staged, len(files), facts)

    def _put(self, table: str, role: str, frame: DataFrame | None, batch: Batch, replay: bool) -> list[TableFact]:
        """Append the batch to a table unless it is there, or let it be all of the table, even when it has no rows."""
        full = batch.data["mode"] == "full"
        if frame is None and full and self._tables.exists(table):
            frame = self._tables.read(table).drop(BATCH_COLUMN).where("false")
        if frame is None:
            return []
        if full:
            fact = self._tables.overwrite(table, frame.selectExpr("*", f"'{batch.batch_id}' AS {BATCH_COLUMN}"))
        else:
            fact = add(self._tables, table, frame, batch.batch_id, replay=replay)
        return [structs.replace(fact, role=role)]


def _copy(context: TaskContext[BronzeConfig]) -> Written:
    """Replace the table with what a Delta table holds now."""
    config = context.config
    source = inputs.opened(context, "source", config.source)
    taken = [column for column in source.frame.columns if column not in sqltext.LINEAGE]
    now = iso(SystemClock().now_ms())
    rows = source.frame.selectExpr(
        *map(sqltext.name, taken),
        f"{sqltext.literal(source.fact.path)} AS `_source_file`",
        f"cast('{now}' AS timestamp) AS `_ingested_at`",
        f"'version {source.fact.version_after}' AS {BATCH_COLUMN}",
    )
    table = inputs.located(context, config.table)
    output = context.tables.overwrite(table, rows)
    read = context.tables.read(table).count()
    return Written(Staged(rows, None, read, 0, ()), 1, [source.fact, output])


def _result(config: BronzeConfig, written: list[Written], warnings: list[str]) -> TaskResult:
    """Report the counts, which add up: read = written + rejected."""
    read = sum(one.staged.read for one in written)
    rejected = sum(one.staged.rejected for one in written)
    files = sum(one.files for one in written)
    facts = Facts(
        rows_read=read,
        rows_written=read - rejected,
        rows_rejected=rejected,
        tables=tuple(fact for one in written for fact in one.facts),
        metrics={"files": float(files)},
        warnings=(*warnings, *(warning for one in written for warning in one.staged.warnings)),
    )
    counted = f"{files:,} files: {read:,} records read = {read - rejected:,} written + {rejected:,} rejected"
    return TaskResult(
        output={"table": config.table, "rows": read - rejected},
        facts=facts,
        message=counted if files else f"no new file in {config.source}",
    )
