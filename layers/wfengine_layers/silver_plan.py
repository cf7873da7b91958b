"""The SQL of a silver task: pure text built from its config and the columns of its input."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wfengine_layers import sqltext
from wfengine_layers.silver_config import Column, Deduplicate, Rule, SilverConfig


class SilverPlan(msgspec.Struct, frozen=True):
    """What to select, stage by stage; columns of the engine's own start with two underscores."""

    #: Columns of the input as it is.
    source: tuple[str, ...]
    #: Columns of the table before `derive`.
    columns: tuple[tuple[str, Column], ...]
    rules: tuple[Rule, ...]
    deduplicate: Deduplicate | None

    @property
    def names(self) -> list[str]:
        """Names of the table's columns before `derive`."""
        return [name for name, _ in self.columns]

    @property
    def keys(self) -> list[str]:
        """Columns that identify a row: those given, else all but the ones bronze added; none when all rows are kept."""
        if self.deduplicate is None:
            return []
        return self.deduplicate.keys or [name for name in self.names if name not in sqltext.LINEAGE]

    def values(self) -> list[str]:
        """Write each column's value, cast where the config says so."""
        return [
            f"try_cast({_from(name, column)} AS {column.type})" if column.type else _from(name, column)
            for name, column in self.columns
        ]

    def typed(self) -> list[str]:
        """Select the table's columns, the input's beside them, and a flag for each cast that can fail."""
        kept = [f"{sqltext.name(name)} AS {sqltext.name('__in_' + name)}" for name in self.source]
        lineage = [sqltext.name(name) for name in sqltext.LINEAGE if name in self.source and name not in self.names]
        values = [sqltext.aliased(value, name) for value, name in zip(self.values(), self.names, strict=True)]
        flags = [
            sqltext.aliased(sqltext.uncastable(_from(name, column), column.type), f"__cast_{index}")
            for index, name, column in self._casts()
        ]
        return kept + values + lineage + flags

    def flags(self) -> list[str]:
        """Select everything so far, and whether each rule is fulfilled."""
        rules = [f"coalesce(({rule.where}), false) AS `__rule_{index}`" for index, rule in enumerate(self.rules)]
        return ["*", *rules]

    def verdicts(self) -> list[str]:
        """Select everything so far, whether a row goes on, and whether it breaks anything at all.

        The condition that is always true hides the verdict from the optimizer, which would otherwise copy every cast
        into the filter and compute it several times over (measured: twice the time of the whole filter).
        """
        whole = _all([self._casts_well(), *(f"`__rule_{index}`" for index in range(len(self.rules)))])
        return [
            "*",
            f"CASE WHEN rand() >= 0 THEN {self.kept()} END AS `__kept`",
            f"CASE WHEN rand() >= 0 THEN NOT {whole} END AS `__faulty`",
        ]

    @property
    def can_fault(self) -> bool:
        """Whether there is any cast or rule to break."""
        return bool(self._casts() or self.rules)

    def counts(self) -> list[str]:
        """Aggregate the rows quarantined and dropped, and those that break each cast and each rule.

        Rules are asked of rows whose values all cast, and `warn` rules of rows that are kept.
        """
        totals = [f"count_if({self.quarantined()}) AS `quarantined`", f"count_if({self.dropped()}) AS `dropped`"]
        casts = [f"count_if(`__cast_{index}`) AS `__cast_{index}`" for index, _, _ in self._casts()]
        rules = [
            f"count_if({_all([among, f'NOT `__rule_{index}`'])}) AS `__rule_{index}`"
            for index, rule in enumerate(self.rules)
            for among in [self.kept() if rule.on_fail == "warn" else self._casts_well()]
        ]
        return totals + casts + rules

    def quarantined(self) -> str:
        """Write the condition of rows kept apart: a value does not cast, or a `quarantine` rule is broken."""
        return f"NOT {self._passed()}"

    def dropped(self) -> str:
        """Write the condition of rows left out: not kept apart, but a `drop` rule is broken."""
        return _all([self._passed(), f"NOT {self._fulfils('drop')}"])

    def kept(self) -> str:
        """Write the condition of rows that go on into the table."""
        return _all([self._passed(), self._fulfils("drop")])

    def quarantine(self) -> list[str]:
        """Select the input row as it came, and what it broke."""
        casts = [
            f"CASE WHEN `__cast_{index}` THEN {sqltext.literal(f'{name} is not {column.type}')} END"
            for index, name, column in self._casts()
        ]
        rules = [
            f"CASE WHEN {_all([self._casts_well(), f'NOT `__rule_{index}`'])} THEN {sqltext.literal(rule.name)} END"
            for index, rule in enumerate(self.rules)
            if rule.on_fail == "quarantine"
        ]
        row = [f"{sqltext.name('__in_' + name)} AS {sqltext.name(name)}" for name in self.source]
        broken = (
            f"array_compact(array({', '.join(casts + rules)}))" if casts or rules else "cast(array() AS array<string>)"
        )
        return [*row, f"{broken} AS `_reasons`"]

    @property
    def compares_whole_rows(self) -> bool:
        """Whether the rows of one key are equal in every column, so that DISTINCT keeps the right ones."""
        return self.deduplicate is not None and not self.deduplicate.order_by and set(self.keys) >= set(self.names)

    def nth_of_key(self) -> str:
        """Write the place of a row among those of its key; the first stays."""
        order = list(self.deduplicate.order_by) if self.deduplicate else []
        ties = [sqltext.name(name) for name in self.names if name not in self.keys]
        keys = ", ".join(map(sqltext.name, self.keys))
        return f"row_number() OVER (PARTITION BY {keys} ORDER BY {', '.join([*order, *ties]) or keys}) AS `__nth`"

    def broken(self, counts: dict[str, int]) -> dict[str, float]:
        """Name the rows that broke each cast and each rule, leaving out what nothing broke."""
        casts = {f"uncastable.{name}": counts[f"__cast_{index}"] for index, name, _ in self._casts()}
        rules = {f"invalid.{rule.name}": counts[f"__rule_{index}"] for index, rule in enumerate(self.rules)}
        return {name: float(rows) for name, rows in (casts | rules).items() if rows}

    def _casts(self) -> list[tuple[int, str, Column]]:
        return [
            (i, name, column) for i, (name, column) in enumerate(self.columns) if not sqltext.always_casts(column.type)
        ]

    def _casts_well(self) -> str:
        return _all([f"NOT `__cast_{index}`" for index, _, _ in self._casts()])

    def _fulfils(self, on_fail: str) -> str:
        return _all([f"`__rule_{index}`" for index, rule in enumerate(self.rules) if rule.on_fail == on_fail])

    def _passed(self) -> str:
        return _all([self._casts_well(), self._fulfils("quarantine")])


def plan(config: SilverConfig, source: Sequence[str]) -> SilverPlan:
    """Settle the columns of the table: those of the config, else all source columns as they are."""
    given = config.columns or {name: Column() for name in source if name not in sqltext.LINEAGE}
    columns = tuple(
        (name, Column(type=column) if isinstance(column, str) else column) for name, column in given.items()
    )
    return SilverPlan(tuple(source), columns, tuple(config.valid), config.same)


def _from(name: str, column: Column) -> str:
    return f"({column.from_})" if column.from_ else sqltext.name(name)


def _all(conditions: Sequence[str]) -> str:
    """Join conditions by AND; none at all is true."""
    real = [condition for condition in conditions if condition != "true"]
    if any(condition == "NOT true" for condition in real):
        return "false"
    return f"({' AND '.join(real)})" if real else "true"
