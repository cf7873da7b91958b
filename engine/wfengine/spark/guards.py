"""The choke point: every plan passes here before it leaves for the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from pyspark.sql.connect.proto import commands_pb2 as commands
from pyspark.sql.connect.proto import relations_pb2 as relations
from pyspark.sql.connect.proto.base_pb2_grpc import SparkConnectServiceStub

from wfengine.spark import plans, readers, sqltext, stamp, writers
from wfengine.spark.answers import Answers
from wfengine.spark.catalog import Catalog
from wfengine.spark.plans import Server
from wfengine.spark.refusal import Refused
from wfengine.spark.touched import Touched, Write
from wfengine.spark.warehouse import DEFAULT_SCHEMA, TableName, exists, parse

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from wfengine.runs import TaskIdentity

_V2 = commands.WriteOperationV2
_V2_NEW = (_V2.MODE_CREATE, _V2.MODE_REPLACE, _V2.MODE_CREATE_OR_REPLACE)
#: Fields of catalog calls that name a table, and such that name a schema.
_TABLE_FIELD, _SCHEMA_FIELD = "table_name", "db_name"


class _Leaving(NamedTuple):
    """A write in a plan that is about to leave."""

    table: str
    path: str
    operation: str
    #: What its commit will have as userMetadata.
    stamp: str
    delta: bool = True


class Guard(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Completes and checks what a task sends to the default engine, and refuses what that engine gets wrong.

    Names become known to the engine's catalog, relative paths absolute, missing paths and lossy writes errors; see
    ``docs/engines.md`` for the list. One guard serves one session.
    """

    def __init__(
        self,
        warehouse: Path,
        base: Path,
        identity: TaskIdentity,
        log: FilteringBoundLogger,
        touched: Touched | None = None,
    ) -> None:
        self._base = base
        self._touched = touched or Touched(None, warehouse)
        # Writes of the plan that is being prepared, and those whose answer is awaited, by operation id.
        self._leaving: list[_Leaving] = []
        self._awaited: dict[str, list[Write]] = {}
        self._log = log
        self._warned: set[str] = set()
        # Threads of one task share the session and so what its catalog knows.
        self._one_at_a_time = threading.RLock()
        self._catalog = Catalog(warehouse)
        self._conf: dict[str, str] = {}
        self._stub: Any = None
        self._stamp = stamp.text(identity)

    def attach(self, channel: grpc.Channel) -> grpc.Channel:
        """Return ``channel`` with this guard on it; the guard's own questions go past it."""
        self._stub = SparkConnectServiceStub(channel)
        return grpc.intercept_channel(channel, self)

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Check plans that are only analysed, and remember the settings that change what a write means."""
        if details.method.endswith("/AnalyzePlan"):
            self._prepare(request, details)
        elif details.method.endswith("/Config"):
            self._configured(request.operation)
        return continuation(details, request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """Check plans that are executed, and note what they write before they leave and once they are answered."""
        operation = str(getattr(request, "operation_id", ""))
        if details.method.endswith("/ExecutePlan"):
            self._leave(operation, self._prepare(request, details))
        answers = continuation(details, request)
        awaited = self._awaited.get(operation)
        return Answers(answers, lambda failed: self._answered(operation, failed)) if awaited else answers

    def _leave(self, operation: str, leaving: list[_Leaving]) -> None:
        awaited = [
            self._touched.write(one.table, one.path, one.operation, one.stamp, delta=one.delta) for one in leaving
        ]
        if noted := [write for write in awaited if write]:
            self._awaited[operation] = noted

    def _answered(self, operation: str, failed: bool) -> None:
        for write in self._awaited.pop(operation, ()):
            self._touched.answered(write, failed=failed)

    def _configured(self, operation: Any) -> None:
        if operation.WhichOneof("op_type") == "set":
            self._conf.update({pair.key.lower(): pair.value.lower() for pair in operation.set.pairs})
        elif operation.WhichOneof("op_type") == "unset":
            for key in operation.unset.keys:
                self._conf.pop(key.lower(), None)

    def _prepare(self, request: Any, details: Any) -> list[_Leaving]:
        """Complete and check a plan, and return what it writes."""
        server = Server(self._stub, details.metadata, request)
        with self._one_at_a_time:
            self._leaving = []
            self._catalog.start(server)
            self._relations(request, server)
            plan = getattr(request, "plan", None)
            if plan is not None and plan.WhichOneof("op_type") == "command":
                self._command(plan.command, server)
            return self._leaving

    def _relations(self, request: Any, server: Server) -> None:
        for relation in plans.relations_in(request):
            kind = relation.WhichOneof("rel_type")
            if kind == "read":
                self._read(relation.read, server)
            elif kind == "sql":
                relation.sql.query = self._mentions(relation.sql.query, server)
            elif kind == "catalog":
                self._catalog_call(relation.catalog, server)

    def _read(self, read: Any, server: Server) -> None:
        if read.WhichOneof("read_type") == "data_source":
            said = [*read.data_source.paths]
            readers.prepare(read.data_source, self._base, self._warn)
            self._read_paths(read.data_source, said)
            return
        text = read.named_table.unparsed_identifier
        path = self._path_name(text)
        if path is not None:
            # A table named by its path: delta.`/a/b`.
            source = _source(path)
            readers.prepare(source, self._base, self._warn)
            self._touched.read(path, source.paths[0])
            return
        read.named_table.unparsed_identifier = self._named(server, text, noted=True) or text

    def _named(self, server: Server, text: str, *, noted: bool) -> str | None:
        """Return what to write instead of a name of a table, if anything, and note that the table is read."""
        name, written = self._catalog.mentioned(server, text)
        if name and noted:
            self._touched.read(_said(name), str(self._catalog.path(name)))
        return written

    def _read_paths(self, source: Any, said: list[str]) -> None:
        """Note that files or tables are read by path."""
        delta = source.format.lower() == "delta"
        options = {key.lower(): str(value) for key, value in source.options.items()}
        at = options.get("versionasof", "")
        for text, path in zip([*said, options.get("path", "")], [*source.paths, options.get("path", "")], strict=True):
            if path and readers.is_local(path):
                self._touched.read(text, path.rstrip("/"), int(at) if at.isdigit() else None, delta=delta)

    def _catalog_call(self, catalog: Any, server: Server) -> None:
        name = catalog.WhichOneof("cat_type")
        call = getattr(catalog, name)
        fields = call.DESCRIPTOR.fields_by_name
        schema = call.db_name if _SCHEMA_FIELD in fields else ""
        if name in ("list_tables", "list_databases"):
            self._catalog.all_tables(server)
        if name == "set_current_database":
            call.db_name = self._catalog.use(server, schema)
        elif schema:
            call.db_name = self._catalog.use_only(server, schema)
        if _TABLE_FIELD in fields and schema:
            self._catalog.mentioned(server, f"{schema}.{call.table_name}")
        elif _TABLE_FIELD in fields:
            call.table_name = self._catalog.mentioned(server, call.table_name)[1] or call.table_name

    def _command(self, command: Any, server: Server) -> None:
        kind = command.WhichOneof("command_type")
        if kind == "write_operation":
            self._write(command.write_operation, server)
        elif kind == "write_operation_v2":
            self._write_v2(command.write_operation_v2, server)
        elif kind == "sql_command":
            if command.sql_command.input.WhichOneof("rel_type") == "sql":
                sql = command.sql_command.input.sql
                sql.query = self._statement(sql, server)
        elif kind == "merge_into_table_command":
            call = command.merge_into_table_command
            path = self._path_name(call.target_table_name)
            if path is None:
                target = self._catalog.target(server, call.target_table_name)
                call.target_table_name = target.quoted
                self._writes(_said(target), target, "MERGE", "")
            else:
                self._leaving.append(_Leaving(path, readers.absolute(path, self._base), "MERGE", ""))

    def _writes(self, said: str, name: TableName, operation: str, stamp: str) -> None:
        """Note a write that will leave with the plan that is being prepared."""
        self._leaving.append(_Leaving(said, str(self._catalog.path(name)), operation, stamp))

    def _write(self, operation: Any, server: Server) -> None:
        delta = (operation.source or "delta").lower() == "delta"
        place = operation.WhichOneof("save_type")
        said = operation.path
        if place == "path":
            operation.path = readers.absolute(operation.path, self._base)
            path, name = Path(operation.path), operation.path
        elif place == "table":
            said = operation.table.table_name.replace("`", "")
            target = self._catalog.target(server, operation.table.table_name)
            operation.table.table_name = target.quoted
            path, name = self._catalog.path(target), ".".join(filter(None, target))
            if not exists(path) or operation.mode == commands.WriteOperation.SAVE_MODE_OVERWRITE:
                self._catalog.renewed(target)
        else:
            return
        if place == "path" and not readers.is_local(operation.path):
            return
        if delta:
            write = writers.Write(path, name, operation.options, server, self._conf, self._stamp)
            writers.prepare(operation, write, self._warn)
            self._leaving.append(_Leaving(said, str(path), "WRITE", write.option("userMetadata")))
        else:
            self._leaving.append(_Leaving(said, str(path), "WRITE", "", delta=False))

    def _write_v2(self, operation: Any, server: Server) -> None:
        target = self._catalog.target(server, operation.table_name)
        operation.table_name = target.quoted
        name = ".".join(filter(None, target))
        write = writers.Write(self._catalog.path(target), name, operation.options, server, self._conf, self._stamp)
        writers.complete_options(write, self._warn)
        self._writes(_said(target), target, "WRITE", write.option("userMetadata"))
        if operation.mode in _V2_NEW:
            self._catalog.renewed(target)
            operation.input.CopyFrom(write.loosened(operation.input))
        elif operation.mode == _V2.MODE_APPEND:
            write.check_columns(operation.input)
        else:
            raise Refused(
                f"this engine cannot overwrite a part of {name} through writeTo; use"
                f" df.write.mode('overwrite').option('replaceWhere', condition).saveAsTable('{name}')"
            )

    def _statement(self, sql: relations.SQL, server: Server) -> str:
        """Return the text of a SQL statement ready for the engine."""
        text = sql.query
        if sqltext.lists_catalog(text):
            self._catalog.all_tables(server)
        schema = sqltext.schema_statement(text)
        if schema:
            return self._schema_statement(schema, text, server)
        target = sqltext.target(text)
        if target is None or self._path_name(target.name) is not None:
            return self._names(text, server)
        name = self._catalog.target(server, target.name)
        rest = self._names(target.rest, server)
        if target.verb.startswith("DROP"):
            if "EXISTS" not in target.verb or self._catalog.known(server, name):
                self._drop(name, server)
            return f"DROP TABLE IF EXISTS {name.quoted}"
        if "CREATE" in target.verb or "REPLACE" in target.verb:
            self._catalog.renewed(name)
        if target.verb.startswith("INSERT"):
            self._insert(target.verb, name, rest, sql, server)
        head = text[: len(text) - len(target.rest)].rstrip()
        return f"{head[: len(head) - len(target.name)]}{name.quoted}{rest}"

    def _drop(self, name: TableName, server: Server) -> None:
        write = self._touched.write(_said(name), str(self._catalog.path(name)), "DROP TABLE", self._stamp)
        self._catalog.drop(server, name)
        if write:
            self._touched.answered(write, failed=False)

    def _insert(self, verb: str, name: TableName, rest: str, sql: relations.SQL, server: Server) -> None:
        full = ".".join(filter(None, name))
        write = writers.Write(self._catalog.path(name), full, {}, server, self._conf, self._stamp)
        if write.known is None:
            return
        if "OVERWRITE" in verb and write.dynamic and write.known.partition_columns:
            raise Refused(
                "this engine ignores spark.sql.sources.partitionOverwriteMode = dynamic and would overwrite the whole"
                f" table {full}; use df.write.mode('overwrite').option('replaceWhere', condition).saveAsTable('{full}')"
            )
        by_name = sqltext.BY_NAME.match(rest)
        if by_name:
            rows = relations.Relation(sql=sql)
            rows.sql.query = rest[by_name.end() :]
            write.check_columns(rows)

    def _schema_statement(self, schema: sqltext.Target, text: str, server: Server) -> str:
        if schema.verb.startswith("USE"):
            return f"USE SCHEMA `{self._catalog.use(server, schema.name)}`"
        if "LOCATION" not in schema.rest.upper():
            namespace = self._catalog.namespace(schema.name)
            head = text[: len(text) - len(schema.rest)].rstrip()
            return self._catalog.create(server, namespace, head[: len(head) - len(schema.name)], schema.rest)
        return text

    def _mentions(self, text: str, server: Server) -> str:
        """Return a text with its names completed, and note what it reads and writes."""
        target = sqltext.target(text)
        if target is None or target.verb.startswith("DROP"):
            # A table that is dropped is noted right there.
            return self._names(text, server, noted=target is None)
        rest = self._names(target.rest, server, noted=True)
        path = self._path_name(target.name)
        if path is None:
            name = parse(target.name, self._catalog.current)
            self._writes(target.name.replace("`", ""), name, target.verb, "")
        else:
            self._leaving.append(_Leaving(path, readers.absolute(path, self._base), target.verb, ""))
        return self._names(text[: len(text) - len(target.rest)], server) + rest

    def _names(self, text: str, server: Server, *, noted: bool = False) -> str:
        def replace(chain: str, table: bool) -> str | None:
            path = self._path_name(chain)
            if path is None:
                # A name of one part may as well be a column.
                return self._named(server, chain, noted=noted and (table or "." in chain))
            source = _source(path)
            readers.prepare(source, self._base, self._warn)
            if noted:
                self._touched.read(path, source.paths[0])
            return f"delta.`{source.paths[0]}`"

        return sqltext.replace_names(text, replace)

    @staticmethod
    def _path_name(chain: str) -> str | None:
        """Return the path of a name like ``delta.`/a/b``` or None."""
        head, dot, rest = chain.partition(".")
        plain = rest.strip().strip("`")
        return plain if dot and head.strip().strip("`").lower() == "delta" and "/" in plain else None

    def _warn(self, key: str, message: str) -> None:
        """Log a warning once per session."""
        if key not in self._warned:
            self._warned.add(key)
            self._log.warning(message)


def _said(name: TableName) -> str:
    """Return a table's name as people write it."""
    return ".".join(filter(None, name)).removeprefix(f"{DEFAULT_SCHEMA}.")


def _source(path: str) -> relations.Read.DataSource:
    """Return the reader of a Delta table by path."""
    source = relations.Read.DataSource(format="delta")
    source.paths.append(path)
    return source
