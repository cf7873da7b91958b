"""What a silver task may say, and the faults that can be seen before it runs."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import Literal

import msgspec

from wfengine_layers.sqltext import fault_of_type


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A column of the table; ``name: type`` is short for ``name: {type: type}``."""

    #: Type to cast to; empty keeps the type of the input.
    type: str = ""
    #: SQL expression over the input's columns; empty for the input's column of the same name.
    from_: str = msgspec.field(name="from", default="")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A condition that a valid row fulfils."""

    #: Name shown in `_reasons` and in the numbers of the attempt.
    name: str
    #: SQL condition over the table's columns, cast and before `derive`; null counts as not fulfilled.
    where: str
    #: What becomes of a row that does not fulfil it: `quarantine` keeps it apart, `drop` leaves it out, `fail` fails
    #: the task, `warn` keeps and counts it.
    on_fail: Literal["quarantine", "drop", "fail", "warn"] = "quarantine"


class Deduplicate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which rows are the same, and which of them stays."""

    #: Columns that identify a row; empty for all source columns, without those that bronze added.
    keys: list[str] = []
    #: SQL order, as in `updated_at DESC`; the first row of each key stays, ties are settled by all columns.
    order_by: list[str] = []


class SilverConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fields of `silver_task`."""

    #: Table to read, by name, or a Delta or parquet folder by path.
    input: str
    #: Table to write.
    table: str
    #: The table's columns in order, each with a type or with `from` and `type`; empty for the input's columns as they
    #: are, without those that bronze added. A value that does not cast rejects its row.
    columns: dict[str, str | Column] = {}
    #: Conditions that valid rows fulfil.
    valid: list[Rule] = []
    #: Rows (`100`) or share of the rows read (`5%`) that may be rejected; beyond it the task fails and no table is
    #: touched. Empty for no limit.
    max_rejected: int | str | None = None
    #: How equal rows are found; `false` keeps them all.
    deduplicate: Deduplicate | bool = Deduplicate()
    #: Further columns, each by an SQL expression that may use the ones before it.
    derive: dict[str, str] = {}
    #: `merge` updates and inserts by the keys, `overwrite` replaces the table, `append` adds each new batch of the
    #: input exactly once.
    mode: Literal["merge", "overwrite", "append"] = "merge"
    #: Table of the rejected rows; `<table>_quarantine` by default.
    quarantine: str = ""

    @property
    def same(self) -> Deduplicate | None:
        """How equal rows are found; None when all are kept."""
        if isinstance(self.deduplicate, Deduplicate):
            return self.deduplicate
        return Deduplicate() if self.deduplicate else None

    def faults(self) -> list[tuple[str, str]]:
        """Return pairs of field and sentence for what the types of the fields cannot express."""
        return [*self._faults_of_columns(), *self._faults_of_rules(), *self._faults_of_keys()]

    def _faults_of_columns(self) -> list[tuple[str, str]]:
        faults = []
        for name, given in self.columns.items():
            kind = given if isinstance(given, str) else given.type
            fault = fault_of_type(kind) if (kind or isinstance(given, str)) and "{{" not in kind else ""
            if fault:
                faults.append((f"columns.{name}", fault))
            if name.startswith("__"):
                faults.append((f"columns.{name}", "a name that starts with two underscores is kept for the engine"))
        return faults

    def _faults_of_rules(self) -> list[tuple[str, str]]:
        counted = Counter(rule.name for rule in self.valid)
        faults = [
            (f"valid[{index}].name", f"two rules are called {rule.name!r}; give each a name of its own")
            for index, rule in enumerate(self.valid)
            if counted[rule.name] > 1
        ]
        faults += [
            (f"valid[{i}].where", "the condition is empty")
            for i, rule in enumerate(self.valid)
            if not rule.where.strip()
        ]
        if "{{" not in str(self.max_rejected):
            try:
                allowed(self.max_rejected, 0)
            except ValueError as error:
                faults.append(("max_rejected", str(error)))
        return faults

    def _faults_of_keys(self) -> list[tuple[str, str]]:
        same = self.same
        if same is None and self.mode == "merge":
            return [
                ("mode", "merge goes by the keys of deduplicate, which is false; use overwrite or append, or give keys")
            ]
        known = {*self.columns}
        return [
            ("deduplicate.keys", f"{key!r} is not one of the columns {', '.join(known)}")
            for key in (same.keys if same and known else [])
            if key not in known and "{{" not in key
        ]


def allowed(max_rejected: int | str | None, read: int) -> int | None:
    """Return how many of ``read`` rows may be rejected, None for any number.

    Raises ValueError with a sentence when ``max_rejected`` is neither a number nor a share.
    """
    if max_rejected is None:
        return None
    found = re.fullmatch(r"(?P<rows>\d+)|(?P<share>\d+(\.\d+)?)\s*%", str(max_rejected).strip())
    if found is None:
        raise ValueError(f"{max_rejected!r} is neither a number of rows, as in 100, nor a share of them, as in '5%'")
    # A share is rounded down: 5% of 30 rows allows 1.
    return int(found["rows"]) if found["rows"] else int(Decimal(found["share"]) * read / 100)
