"""Spark Connect requests: what they hold, and small requests of our own beside the user's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from pyspark.sql.connect.proto import base_pb2 as base
from pyspark.sql.connect.proto import commands_pb2 as commands
from pyspark.sql.connect.proto import relations_pb2 as relations
from pyspark.sql.connect.proto.base_pb2_grpc import SparkConnectServiceStub
from pyspark.sql.connect.types import proto_schema_to_pyspark_data_type

#: Messages that hold no relation worth a look however deep they are.
_LEAVES = frozenset({"spark.connect.Expression", "spark.connect.DataType", "spark.connect.LocalRelation"})


def relations_in(message: Message) -> Iterator[relations.Relation]:
    """Yield every relation in a request or plan, the outer before the inner; any depth."""
    stack = [message]
    while stack:
        current = stack.pop()
        if isinstance(current, relations.Relation):
            yield current
            # One of some sixty kinds is set; asking for each would take most of the time.
            kind = current.WhichOneof("rel_type")
            if kind:
                stack.append(getattr(current, kind))
            continue
        for field in _ways(current.DESCRIPTOR):
            # The new API says is_repeated, the old one label.
            if _repeated(field):
                stack.extend(getattr(current, field.name))
            elif current.HasField(field.name):
                stack.append(getattr(current, field.name))


@cache
def _ways(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """Return the fields of a message through which a relation can be reached."""
    return tuple(f for f in descriptor.fields if f.message_type and _leads(f.message_type, ()))


def _leads(descriptor: Descriptor, path: tuple[str, ...]) -> bool:
    name = descriptor.full_name
    if name == "spark.connect.Relation":
        return True
    if name in _LEAVES or name in path or not name.startswith("spark.connect."):
        return False
    return any(_leads(f.message_type, (*path, name)) for f in descriptor.fields if f.message_type)


@cache
def _repeated(field: FieldDescriptor) -> bool:
    known = getattr(field, "is_repeated", None)
    return bool(known if known is not None else field.label == FieldDescriptor.LABEL_REPEATED)


class Server:
    """Asks the server things on behalf of a request that is about to leave, in the same session."""

    def __init__(self, stub: SparkConnectServiceStub, metadata: Any, request: Any) -> None:
        self._stub = stub
        self._metadata = metadata
        self._request = request

    def schema(self, relation: relations.Relation) -> dict[str, Any]:
        """Return the schema of a relation as Delta writes it. Raises what the server says."""
        ask = base.AnalyzePlanRequest()
        self._identify(ask)
        ask.schema.plan.root.CopyFrom(relation)
        answer = self._stub.AnalyzePlan(ask, metadata=self._metadata)
        found: dict[str, Any] = proto_schema_to_pyspark_data_type(answer.schema.schema).jsonValue()
        return found

    def sql(self, text: str) -> None:
        """Run a statement."""
        command = commands.SqlCommand()
        command.input.sql.query = text
        ask = base.ExecutePlanRequest()
        self._identify(ask)
        ask.plan.command.sql_command.CopyFrom(command)
        for _ in self._stub.ExecutePlan(ask, metadata=self._metadata):
            pass

    def rows(self, relation: relations.Relation) -> list[dict[str, Any]]:
        """Compute a small relation."""
        import pyarrow

        ask = base.ExecutePlanRequest()
        self._identify(ask)
        ask.plan.root.CopyFrom(relation)
        found: list[dict[str, Any]] = []
        for answer in self._stub.ExecutePlan(ask, metadata=self._metadata):
            if answer.HasField("arrow_batch"):
                with pyarrow.ipc.open_stream(answer.arrow_batch.data) as reader:
                    found.extend(reader.read_all().to_pylist())
        return found

    def _identify(self, ask: Any) -> None:
        ask.session_id = self._request.session_id
        ask.client_type = self._request.client_type
        ask.user_context.CopyFrom(self._request.user_context)


def filtered(relation: relations.Relation, condition: str, limit: int) -> relations.Relation:
    """Return the first rows of a relation for which a SQL condition holds."""
    found = relations.Relation()
    found.limit.limit = limit
    found.limit.input.filter.input.CopyFrom(relation)
    found.limit.input.filter.condition.expression_string.expression = condition
    return found


def distinct(relation: relations.Relation, columns: list[str], limit: int) -> relations.Relation:
    """Return the different values of some columns."""
    found = relations.Relation()
    found.limit.limit = limit
    found.limit.input.deduplicate.all_columns_as_keys = True
    found.limit.input.deduplicate.input.CopyFrom(projected(relation, [(name, quote(name)) for name in columns]))
    return found


def projected(relation: relations.Relation, columns: list[tuple[str, str]]) -> relations.Relation:
    """Return a relation with the columns given as pairs of name and SQL expression."""
    found = relations.Relation()
    found.project.input.CopyFrom(relation)
    for name, expression in columns:
        column = found.project.expressions.add()
        column.alias.expr.expression_string.expression = expression
        column.alias.name.append(name)
    return found


def quote(name: str) -> str:
    """Write a name as a quoted SQL identifier."""
    return "`" + name.replace("`", "``") + "`"
