"""All that the author of a layer sees: the base class, what a task is given, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from wfengine.errors import TaskFailed
from wfengine.runs import Facts, TaskIdentity

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from structlog.typing import FilteringBoundLogger

    from wfengine.spark.tables import Tables

__all__ = ["Layer", "TaskContext", "TaskIdentity", "TaskResult"]

C = TypeVar("C", bound=msgspec.Struct)


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a successful attempt reports."""

    #: JSON value of at most 48 KiB, readable downstream and in the API.
    output: Any = None
    #: Rows, tables, expectations and further numbers.
    facts: Facts = Facts()
    #: One line for people, shown beside the state.
    message: str = ""


class TaskContext(Generic[C]):
    """What a layer's ``run`` is given."""

    def __init__(
        self,
        *,
        config: C,
        identity: TaskIdentity,
        parameters: Mapping[str, str],
        log: FilteringBoundLogger,
        scratch: Path,
        base: Path,
        root: Path,
        warehouse: Path,
        allowed: tuple[Path, ...] = (),
        upstream_values: Mapping[str, Mapping[str, Any]] | None = None,
        session: Callable[[], SparkSession] | None = None,
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        #: The checked config of this task, references filled in.
        self.config = config
        self.identity = identity
        #: Parameters of the task: its own, overridden by the job parameters of the same name.
        self.parameters = parameters
        #: Structured log of this attempt; lines go to the attempt's log.
        self.log = log
        self._scratch = scratch
        #: Folder of the job file; relative paths start here.
        self.base = base
        #: Root of the project; code is only read from below it.
        self.root = root
        #: Folder that holds the tables.
        self.warehouse = warehouse
        #: Further folders that may be read, named on the command line.
        self.allowed = allowed
        #: Task values of upstream tasks by task key and name.
        self.upstream_values = upstream_values or {}
        self._session = session
        self._report = report or (lambda message: None)
        self._spark: SparkSession | None = None
        self._tables: Tables | None = None
        #: Task values set so far; reported with the completion record.
        self.values: dict[str, Any] = {}

    @property
    def scratch(self) -> Path:
        """A folder of this attempt alone, made on first use and removed after the attempt."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._scratch

    @property
    def spark(self) -> SparkSession:
        """The Spark session of this attempt, made on first use."""
        if self._spark is None:
            if self._session is None:
                raise TaskFailed("this layer does not declare needs_spark = True, so there is no Spark session")
            self._spark = self._session()
        return self._spark

    @property
    def spark_started(self) -> bool:
        """Whether ``spark`` was used; lets the worker end a session only when there is one."""
        return self._spark is not None

    @property
    def tables(self) -> Tables:
        """Idempotent readers and writers for the tables of the warehouse."""
        if self._tables is None:
            from wfengine.spark.tables import Tables

            self._tables = Tables(spark=lambda: self.spark, warehouse=self.warehouse, identity=self.identity)
        return self._tables

    def path(self, text: str) -> Path:
        """Resolve a path of the job file against the job file's folder.

        Raises TaskFailed when it leaves the project and no folder given on the command line contains it.
        """
        path = (self.base / text).resolve()
        if any(path.is_relative_to(folder.resolve()) for folder in (self.root, *self.allowed)):
            return path
        raise TaskFailed(
            f"{path} lies outside the project {self.root}; "
            "give its folder on the command line, as a parameter or with --root"
        )

    def set_value(self, key: str, value: Any) -> None:
        """Give downstream tasks a JSON value of at most 48 KiB under ``key`` (docs/semantics.md, section 5)."""
        try:
            size = len(msgspec.json.encode(value))
        except (TypeError, ValueError) as error:
            raise TaskFailed(f"task value {key!r} is not JSON: {error}") from error
        if size > 48 * 1024:
            raise TaskFailed(f"task value {key!r} has {size} bytes as JSON; at most 49152 are allowed")
        self.values[key] = value

    def progress(self, done: int, total: int | None = None, message: str = "") -> None:
        """Show how far the task is; ``total`` None when unknown."""
        self._report({"progress": {"done": done, "total": total, "message": message}})


class Layer(ABC, Generic[C]):
    """A kind of task: ``name`` makes it usable in job files as ``<name>_task``.

    A complete plugin::

        >>> import msgspec
        >>> from wfengine import Layer, TaskContext, TaskResult, hookimpl
        >>> class GreetConfig(msgspec.Struct, forbid_unknown_fields=True):
        ...     whom: str = "world"
        >>> class Greet(Layer[GreetConfig]):
        ...     "Say hello."
        ...     name = "greet"
        ...     Config = GreetConfig
        ...     def run(self, context: TaskContext[GreetConfig]) -> TaskResult:
        ...         return TaskResult(output=f"hello {context.config.whom}")
        >>> @hookimpl
        ... def register_layers():
        ...     return [Greet]
    """

    #: What job files call it, without ``_task``.
    name: ClassVar[str]
    #: Struct that the ``<name>_task`` mapping is checked against when the job file is read.
    Config: ClassVar[type[msgspec.Struct]]
    #: Whether ``context.spark`` is used; such tasks start from a process that has pyspark loaded.
    needs_spark: ClassVar[bool] = False
    #: Config field that holds the task's own key-value parameters; job parameters of the same name beat them.
    parameters_field: ClassVar[str] = ""

    @abstractmethod
    def run(self, context: TaskContext[C]) -> TaskResult:
        """Do the work; raise TaskFailed for the user's own mistakes, anything else is shown with its traceback."""

    @classmethod
    def check(cls, config: Any, folder: Path) -> list[tuple[str, str]]:
        """Find faults that the types of the config cannot express, when the job file is read.

        ``config`` is an instance of ``Config`` or, while it holds references, only partly checked; ``folder`` is
        the job file's. Returns pairs of field name and sentence.
        """
        return []

    @classmethod
    def sources(cls, config: Mapping[str, Any], folder: Path) -> list[Path]:
        """Name the files that hold the task's code, so that a repair sees when they have changed.

        ``config`` is the mapping of the job file, references not filled in; ``folder`` is the job file's. A file that
        cannot be told from it is left out.
        """
        return []
