"""What a bronze task may say, and the faults that can be seen before it runs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from wfengine.errors import TaskFailed
from wfengine_layers.sqltext import LINEAGE, columns_of


class BronzeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fields of `bronze_task`."""

    #: File, folder or pattern to read, relative to the job file's folder.
    source: str
    #: Table to write.
    table: str
    #: Format of the files; empty goes by each file's extension.
    format: Literal["", "csv", "tsv", "json", "jsonl", "parquet", "text", "delta"] = ""
    #: Options of the reader: `sep`, `header`, `quote`, `escape`, `encoding`, `multiline`, `missing`.
    options: dict[str, Any] = {}
    #: Columns and types, as in `id bigint, price double`; empty takes the columns from each file, and every column of a
    #: CSV file is a string. A value that does not cast rejects its record.
    schema: str = ""
    #: `append` adds the files not ingested before, by path, size and content; `full` replaces the table with all files.
    mode: Literal["append", "full"] = "append"
    #: Table of the rejected records; `<table>_quarantine` by default.
    quarantine: str = ""

    @property
    def declared(self) -> list[tuple[str, str]]:
        """Names and types of the schema. Raises TaskFailed for a bad one."""
        try:
            return columns_of(self.schema) if self.schema.strip() else []
        except ValueError as error:
            raise TaskFailed(f"schema: {error}") from error

    def faults(self) -> list[tuple[str, str]]:
        """Return pairs of field and sentence for what the types of the fields cannot express."""
        from wfengine_layers.raw import raw_source

        faults = []
        declared: list[str] = []
        try:
            declared = [] if "{{" in self.schema else [name for name, _ in self.declared]
            faults += [
                ("schema", f"column {name} is added by the layer itself") for name in declared if name in LINEAGE
            ]
        except TaskFailed as error:
            faults.append(("schema", str(error).removeprefix("schema: ")))
        try:
            raw_source(self.options, declared or None)
        except TaskFailed as error:
            faults.append(("options", str(error)))
        if self.format == "delta" and self.mode == "append":
            faults.append(("mode", "a delta source has no files of its own to remember; use mode: full"))
        if self.format == "delta" and (self.options or self.schema):
            faults.append(("format", "a delta source has its own schema; leave out schema and options"))
        return faults
