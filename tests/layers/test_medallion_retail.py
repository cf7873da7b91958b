"""Real, dirty data through three layers, day by day; every number is computed a second time without any engine."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from medallion import Project

DAYS = Path(__file__).parents[3] / "shared" / "data" / "online-retail" / "by-day"
pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(not DAYS.is_dir(), reason="the retail data set is not beside the repository"),
]
#: Runs of bronze: the first files one day at a time, the rest in a last run.
SINGLE_DAYS = 44

SILVER: dict[str, Any] = {
    "input": "bronze.retail",
    "table": "silver.sales",
    "columns": {
        "invoice": {"from": "InvoiceNo"},
        "product": {"from": "StockCode"},
        "description": {"from": "Description"},
        "quantity": {"from": "Quantity", "type": "int"},
        "sold_at": {"from": "InvoiceDate", "type": "timestamp"},
        "price": {"from": "UnitPrice", "type": "decimal(10,3)"},
        "customer": {"from": "CustomerID", "type": "double"},
        "country": {"from": "Country"},
    },
    "valid": [
        {"name": "not_cancelled", "where": "invoice NOT LIKE 'C%'"},
        {"name": "customer_known", "where": "customer IS NOT NULL"},
        {"name": "quantity_positive", "where": "quantity > 0"},
        {"name": "price_positive", "where": "price > 0"},
    ],
    "derive": {"day": "CAST(sold_at AS DATE)", "revenue": "quantity * price"},
}


class Expected:
    """The same numbers by plain Python."""

    def __init__(self) -> None:
        self.read = 0
        self.rejected = 0
        self.broken: Counter[str] = Counter()
        self.rows: set[tuple[str, ...]] = set()
        for row in _records():
            self.read += 1
            broken = self._broken(row)
            self.broken.update(broken)
            self.rejected += bool(broken)
            if not broken:
                self.rows.add(tuple(row.values()))

    @staticmethod
    def _broken(row: dict[str, str]) -> list[str]:
        checks = {
            "not_cancelled": not row["InvoiceNo"].startswith("C"),
            "customer_known": row["CustomerID"] != "",
            "quantity_positive": int(row["Quantity"]) > 0,
            "price_positive": Decimal(row["UnitPrice"]) > 0,
        }
        return [name for name, holds in checks.items() if not holds]

    def revenue(self, key: Any) -> dict[Any, Decimal]:
        """Revenue by a key that is taken from each row."""
        total: dict[Any, Decimal] = defaultdict(Decimal)
        for row in self.rows:
            total[key(row)] += int(row[3]) * Decimal(row[5])
        return total


def _records() -> Iterator[dict[str, str]]:
    for file in sorted(DAYS.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)


@pytest.fixture
def retail(project: Project) -> Project:
    """Days that arrive one by one, each ingested as it comes."""
    files = sorted(DAYS.glob("*.csv"))
    read = 0
    for number, file in enumerate(files, 1):
        project.write(f"in/{file.name}", file.read_bytes())
        if number <= SINGLE_DAYS or number == len(files):
            read += project.run("bronze", source="in", table="bronze.retail").facts.rows_read or 0
    assert read == sum(1 for _ in _records())
    return project


def test_every_count_and_sum_is_that_of_plain_python(retail: Project):
    """docs/semantics.md, section 10."""
    expected = Expected()
    columns = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
    bronze = Counter(tuple(row[name] or "" for name in columns) for row in retail.rows("bronze.retail", *columns))
    assert bronze == Counter(tuple(row.values()) for row in _records())

    silver = retail.run("silver", **SILVER)
    written = len(expected.rows)
    duplicates = expected.read - expected.rejected - written
    assert retail.counts(silver) == (expected.read, written, expected.rejected, duplicates)
    assert {name.removeprefix("invalid."): rows for name, rows in silver.facts.metrics.items()} == expected.broken
    assert len(retail.rows("silver.sales_quarantine", "_reasons")) == expected.rejected
    assert sum(retail.rows("silver.sales", "revenue")) == sum(expected.revenue(lambda row: "all").values())
    again = retail.run("silver", **SILVER)
    assert retail.counts(again) == retail.counts(silver)
    assert len(retail.rows("silver.sales", "invoice")) == written

    _check_gold(retail, expected)


def _check_gold(project: Project, expected: Expected) -> None:
    project.run(
        "gold",
        input="silver.sales",
        table="gold.revenue",
        group_by=["day", "country"],
        measures={"revenue": "sum(revenue)", "orders": "count(DISTINCT invoice)"},
        partition_by=["day"],
    )
    found = {(str(row["day"]), row["country"]): row["revenue"] for row in project.rows("gold.revenue")}
    assert found == expected.revenue(lambda row: (row[4][:10], row[7]))

    project.run(
        "gold",
        input={"s": "silver.sales"},
        table="gold.top_products",
        query="SELECT product, sum(revenue) AS revenue FROM s GROUP BY product ORDER BY revenue DESC, product LIMIT 10",
    )
    by_product = sorted(expected.revenue(lambda row: row[1]).items(), key=lambda item: (-item[1], item[0]))
    assert {row["product"]: row["revenue"] for row in project.rows("gold.top_products")} == dict(by_product[:10])

    project.run(
        "gold",
        input="silver.sales",
        table="gold.customers",
        query="SELECT customer, count(DISTINCT invoice) AS orders FROM sales GROUP BY customer "
        "HAVING count(DISTINCT invoice) > 1",
    )
    invoices: dict[float, set[str]] = defaultdict(set)
    for row in expected.rows:
        invoices[float(row[6])].add(row[0])
    repeat = {customer: len(orders) for customer, orders in invoices.items() if len(orders) > 1}
    assert {row["customer"]: row["orders"] for row in project.rows("gold.customers")} == repeat
