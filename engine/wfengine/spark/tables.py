"""Tables that can be written again and again without a row lost or doubled."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from wfengine.clock import Clock
from wfengine.errors import TaskFailed
from wfengine.failpoints import failpoint
from wfengine.runs import TableFact
from wfengine.spark import deltalog, fence, schemas, stamp, warehouse
from wfengine.spark.ledger import Ledger
from wfengine.spark.locks import locked

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from wfengine.runs import TaskIdentity

#: Column that holds the batch id of every row that was appended; never null there.
BATCH_COLUMN = "_batch_id"
_CONFLICT_TRIES = 10
_CONFLICTS = (
    "failed to commit transaction",
    "delta_concurrent",
    "concurrentappend",
    "concurrentdelete",
    "concurrentwrite",
    "concurrentmodification",
    "concurrenttransaction",
    "protocolchanged",
    "metadata changed since",
    # The engine lists a log while another writer puts a checkpoint into it.
    "missing commit file",
    "metadatachanged",
)


class Tables:
    """Readers and writers of the warehouse's tables.

    ``table`` is a table name or a path (``wfengine.spark.warehouse``). Each write holds the table's lock, is one Delta
    commit, is tried again when another writer came in between, and returns the versions around it and the rows written
    as the commit itself counts them.
    """

    def __init__(
        self,
        spark: Callable[[], SparkSession],
        warehouse: Path,
        identity: TaskIdentity,
        *,
        clock: Clock | None = None,
        lock_seconds: float = 600,
    ) -> None:
        self._spark = spark
        self._warehouse = warehouse
        self._identity = identity
        self._stamp = stamp.text(identity)
        self._clock = clock
        self._lock_seconds = lock_seconds
        self._held: Counter[Path] = Counter()
        self._appends: Counter[Path] = Counter()

    def path(self, table: str) -> Path:
        """Return the table's folder. Raises TaskFailed for a bad name."""
        return warehouse.table_path(self._warehouse, table)

    def version(self, table: str) -> int:
        """Return the table's newest version, -1 when it does not exist."""
        return warehouse.version(self.path(table))

    def exists(self, table: str) -> bool:
        """Say whether the table exists."""
        return self.version(table) >= 0

    def read(self, table: str) -> DataFrame:
        """Return the table as it is now. Raises TaskFailed when it does not exist."""
        path = self.path(table)
        if not warehouse.exists(path):
            raise TaskFailed(f"table {table} does not exist: there is no Delta table in {path}")
        return self._spark().read.format("delta").load(str(path))

    def ledger(self, table: str) -> Ledger:
        """Return the table's batches; plan and confirm them only within ``lock``."""
        return Ledger(self.path(table) / warehouse.PRIVATE / "ledger.jsonl", self._clock)

    @contextmanager
    def lock(self, table: str) -> Iterator[None]:
        """Keep other processes of wfengine from writing to the table; may be nested.

        Raises TaskFailed when the lock is not free within the bounded wait.
        """
        path = self.path(table)
        if self._held[path]:
            yield
            return
        with locked(path / warehouse.PRIVATE / "lock", self._lock_seconds):
            self._held[path] += 1
            try:
                yield
            finally:
                self._held[path] -= 1

    def overwrite(self, table: str, frame: DataFrame, *, partition_by: Sequence[str] = ()) -> TableFact:
        """Replace the whole table, its columns included; readers see the old rows or the new ones."""
        path = self.path(table)

        def write() -> None:
            known = deltalog.snapshot(path)
            writer = frame.write.format("delta").mode("overwrite")
            if known and not schemas.same(known, frame.schema.jsonValue(), partition_by):
                writer = writer.option("overwriteSchema", "true")
            (writer.partitionBy(*partition_by) if partition_by else writer).save(str(path))

        return self._commit(table, write)

    def merge(self, table: str, frame: DataFrame, keys: Sequence[str], *, evolve: bool = False) -> TableFact:
        """Update the rows whose keys are there and that differ, insert the others; null is a key like any other.

        Creates the table when it is missing. ``evolve`` adds columns that the table does not have.
        Raises TaskFailed for a key that the frame has more than once and for new columns without ``evolve``.
        """
        if not keys:
            raise TaskFailed(f"a merge into {table} needs at least one key column")
        _refuse_missing_keys(table, frame, keys)
        _refuse_duplicates(table, frame, keys)
        path = self.path(table)

        def write() -> None:
            known = deltalog.snapshot(path)
            if known is None:
                frame.write.format("delta").save(str(path))
                return
            schemas.reconcile(path, known, frame.schema.jsonValue(), evolve=evolve, lossless=False, stamp=self._stamp)
            statement = _merge_statement(path, frame.columns, keys)
            self._spark().sql(statement, source=frame).collect()

        return self._commit(table, write)

    def append(self, table: str, frame: DataFrame, *, evolve: bool = False) -> TableFact:
        """Add the rows exactly once for this run and task, whatever the attempt.

        The n-th append of a task to a table is the same batch in every attempt and repair of the run: a later attempt
        replaces what an earlier one wrote. Adds the column ``_batch_id``.
        """
        path = self.path(table)
        self._appends[path] += 1
        who = self._identity
        unit = who.task_key if who.iteration < 0 else f"{who.task_key}[{who.iteration}]"
        key = f"run {who.run_id} of {who.trigger_time} task {unit} append {self._appends[path]}"
        with self.lock(table):
            ledger = self.ledger(table)
            planned = ledger.find(key)
            batch = planned or ledger.plan(key, attempt=who.attempt_number)
            failpoint("append.after_plan")
            if planned:
                self._keep_out(path, batch.batch_id)
            fact = self.append_batch(table, frame, batch.batch_id, replay=planned is not None, evolve=evolve)
            failpoint("append.after_commit")
            ledger.done(batch.batch_id, rows=fact.rows, version=fact.version_after)
            failpoint("append.after_done")
        return fact

    def append_batch(
        self, table: str, frame: DataFrame, batch_id: str, *, replay: bool, evolve: bool = False
    ) -> TableFact:
        """Add the rows as one planned batch; call it within ``lock``.

        With ``replay`` whatever an earlier try of the batch left is replaced, in the same commit unless the rows hold
        arrays.
        """
        from pyspark.sql import functions

        path = self.path(table)
        rows = frame.withColumn(BATCH_COLUMN, functions.lit(batch_id))
        mine = f"{BATCH_COLUMN} = '{batch_id}'"

        def write() -> None:
            writer = rows.write.format("delta").option("mergeSchema", str(evolve).lower())
            again = replay and warehouse.exists(path)
            if again and "array<" not in frame.schema.simpleString():
                writer.mode("overwrite").option("replaceWhere", mine).save(str(path))
                return
            if again:
                # The default engine cannot replace rows of a table with arrays. Two commits: a crash between them is
                # one more replay.
                self._spark().sql(f"DELETE FROM delta.{quote(str(path))} WHERE {mine}").collect()  # noqa: S608
            writer.mode("append").save(str(path))

        fact = self._commit(table, write)
        if not replay:
            return fact
        # The commit counts rows of other batches too, when they share a file.
        return structs.replace(fact, rows=self.read(table).where(mine).count())

    def append_once(
        self, table: str, frame: DataFrame, batch_id: str, *, replay: bool, evolve: bool = False
    ) -> TableFact:
        """Add the rows of a planned batch unless they are in the table; call it within ``lock``.

        For batches whose rows are the same in every try: with ``replay`` those of an earlier try are left as they are.
        A plain append, because the engine cannot replace a part of a table that has columns of lists.
        """
        from pyspark.sql import functions

        path = self.path(table)
        rows = frame.withColumn(BATCH_COLUMN, functions.lit(batch_id))

        def write() -> None:
            if not (replay and self.holds_batch(table, batch_id)):
                writer = rows.write.format("delta").mode("append").option("mergeSchema", str(evolve).lower())
                writer.save(str(path))

        fact = self._commit(table, write)
        if not replay:
            return fact
        return structs.replace(fact, rows=self.read(table).where(f"{BATCH_COLUMN} = '{batch_id}'").count())

    def holds_batch(self, table: str, batch_id: str) -> bool:
        """Say whether rows of a batch are in the table; those of one commit are all there or none.

        A try of the batch that is still on its way can put nothing there any more after this call. Call it within
        ``lock``.
        """
        path = self.path(table)
        self._keep_out(path, batch_id)
        if not warehouse.exists(path):
            return False
        rows = self.read(table)
        return BATCH_COLUMN in rows.columns and bool(rows.where(f"{BATCH_COLUMN} = '{batch_id}'").head(1))

    def _keep_out(self, path: Path, batch_id: str) -> None:
        """Stop a try of the batch that the engine still works on for a client that is dead."""
        fence.stop_left_behind(self._spark(), path)
        if warehouse.exists(path):
            fence.put_up(path, batch_id, self._stamp)

    def _commit(self, table: str, write: Callable[[], None]) -> TableFact:
        path = self.path(table)
        with self.lock(table):
            before = warehouse.version(path)
            with fence.writing(self._spark(), path):
                retry_conflicts(write)
            after = warehouse.version(path)
        return TableFact(
            table=table,
            role="output",
            path=str(path),
            version_before=before,
            version_after=after,
            rows=deltalog.rows_written(path, before, after),
        )


def retry_conflicts(write: Callable[[], None], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Try ``write`` again while other writers of the same table win, with waits that grow and vary.

    Raises the last error after ten tries.
    """
    for attempt in range(_CONFLICT_TRIES):
        try:
            write()
            return
        except Exception as error:  # noqa: PERF203 - a try per loop is the point
            if attempt == _CONFLICT_TRIES - 1 or not is_conflict(error):
                raise
            # Not a secret: it only keeps two writers from meeting again.
            sleep(random.uniform(0.5, 1) * min(0.05 * 2**attempt, 2))  # noqa: S311


def is_conflict(error: Exception) -> bool:
    """Say whether a Delta commit lost against another writer and can be tried again."""
    text = f"{type(error).__name__} {error}".lower()
    return any(mark in text for mark in _CONFLICTS)


def _refuse_missing_keys(table: str, frame: DataFrame, keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in frame.columns]
    if missing:
        raise TaskFailed(f"cannot merge into {table}: the rows have no column {', '.join(missing)}")


def _refuse_duplicates(table: str, frame: DataFrame, keys: Sequence[str]) -> None:
    from pyspark.sql import functions

    columns = [quote(key) for key in keys]
    counted = frame.groupBy(*columns).agg(functions.count(functions.lit(1)).alias("_rows"))
    found = counted.where("_rows > 1").limit(3).collect()
    if found:
        shown = "; ".join(
            ", ".join(f"{key} = {row[key]!r}" for key in keys) + f" ({row['_rows']} rows)" for row in found
        )
        raise TaskFailed(f"cannot merge into {table}: more than one row for the key {shown}; deduplicate first")


def _merge_statement(path: Path, columns: Sequence[str], keys: Sequence[str]) -> str:
    on = " AND ".join(f"t.{quote(key)} <=> s.{quote(key)}" for key in keys)
    others = [quote(column) for column in columns if column not in keys]
    differs = " OR ".join(f"NOT (t.{column} <=> s.{column})" for column in others)
    update = f"WHEN MATCHED AND ({differs}) THEN UPDATE SET " if others else ""
    update += ", ".join(f"t.{column} = s.{column}" for column in others)
    names = ", ".join(quote(column) for column in columns)
    values = ", ".join(f"s.{quote(column)}" for column in columns)
    return (
        f"MERGE INTO delta.{quote(str(path))} t USING {{source}} s ON {on} "  # noqa: S608 - every name is quoted
        f"{update} WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
    )


def quote(name: str) -> str:
    """Write a name as a quoted SQL identifier."""
    return "`" + name.replace("`", "``") + "`"
