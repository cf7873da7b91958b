"""The gold layer (docs/semantics.md, section 10)."""

from __future__ import annotations

import msgspec
import pytest
from medallion import Project, faults

from wfengine.errors import TaskFailed
from wfengine_layers.gold import GoldConfig, grouped

SALES = "day,shop,amount\n2026-01-01,north,2\n2026-01-01,north,3\n2026-01-01,south,5\n2026-01-02,north,7\n"


@pytest.mark.parametrize(
    ("item", "expression", "name"),
    [
        ("shop", "`shop`", "shop"),
        ("`my shop`", "`my shop`", "my shop"),
        ("date(at) AS day", "date(at)", "day"),
        ("CAST(at AS date) as `the day`", "CAST(at AS date)", "the day"),
        ("date(at)", "date(at)", ""),
    ],
)
def test_a_group_is_a_column_or_a_named_expression(item, expression, name):
    assert grouped(item) == (expression, name)


@pytest.mark.parametrize(
    ("given", "alias"),
    [
        ("silver.sales", "sales"),
        ("c.silver.sales", "sales"),
        ("lake/my-sales.parquet", "my_sales"),
        ("lake/sales/", "sales"),
    ],
)
def test_the_alias_of_a_single_input_is_the_last_part_of_its_name(given, alias):
    assert msgspec.convert({"input": given, "table": "t"}, GoldConfig).aliases == {alias: given}


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({}, "query", "either query or measures"),
        ({"query": "SELECT 1", "measures": {"n": "count(*)"}}, "query", "either query or measures"),
        ({"query": "SELECT 1", "where": "a"}, "query", "write them into the query"),
        ({"input": {}, "query": "SELECT 1"}, "input", "at least one table"),
        ({"input": {"a": "x", "b": "y"}, "measures": {"n": "count(*)"}}, "input", "use a query to join"),
        ({"input": {"a-b": "x"}, "query": "SELECT 1"}, "input.a-b", "not an alias"),
        ({"measures": {"n": "count(*)"}, "group_by": ["date(x)"]}, "group_by[0]", "write 'date(x) AS name'"),
        ({"measures": {"n": "count(*)"}, "mode": "merge"}, "keys", "needs the columns"),
        ({"measures": {"n": "count(*)"}, "keys": ["a"]}, "keys", "no effect"),
    ],
)
def test_a_wrong_config_is_refused_when_the_job_file_is_read(config, field, message):
    found = faults("gold", **{"input": "i", "table": "t", **config})
    assert found[0][0] == field
    assert message in found[0][1]


@pytest.fixture
def sales(project: Project) -> Project:
    project.write("in/sales.csv", SALES)
    project.run("bronze", source="in", table="bronze.sales", schema="day date, shop string, amount int")
    return project


BY_DAY = {"group_by": ["day"], "measures": {"revenue": "sum(amount)", "sales": "count(*)"}}


def gold(project: Project, **config):
    return project.run("gold", **{"input": "bronze.sales", "table": "gold.out", **config})


@pytest.mark.spark
def test_measures_by_group_and_twice_is_once(sales: Project):
    for _ in range(2):
        result = gold(sales, **BY_DAY)
    assert [(str(row["day"]), row["revenue"], row["sales"]) for row in sales.rows("gold.out")] == [
        ("2026-01-01", 10, 3),
        ("2026-01-02", 7, 1),
    ]
    assert (result.facts.rows_read, result.facts.rows_written) == (4, 2)
    assert result.output == {"table": "gold.out", "rows": 2}
    roles = [(fact.role, fact.version_before, fact.version_after) for fact in result.facts.tables]
    assert roles == [("input", 0, 0), ("output", 0, 1)]


@pytest.mark.spark
def test_a_condition_an_expression_and_a_total(sales: Project):
    gold(sales, group_by=["month(day) AS month"], measures={"n": "count(*)"}, where="shop = 'north'")
    assert sales.rows("gold.out") == [{"month": 1, "n": 3}]
    gold(sales, measures={"n": "count(*)"}, table="gold.total")
    assert sales.rows("gold.total") == [{"n": 4}]


@pytest.mark.spark
def test_a_query_joins_tables_by_their_aliases(sales: Project):
    gold(sales, **BY_DAY, table="gold.days")
    gold(
        sales,
        input={"s": "bronze.sales", "d": "gold.days"},
        query="SELECT s.shop, sum(s.amount / d.revenue) AS share FROM s JOIN d ON s.day = d.day GROUP BY s.shop",
    )
    assert [(row["shop"], row["share"]) for row in sales.rows("gold.out")] == [("north", 1.5), ("south", 0.5)]


@pytest.mark.spark
def test_a_merge_updates_and_inserts_by_its_keys(sales: Project):
    config = {**BY_DAY, "mode": "merge", "keys": ["day"]}
    gold(sales, **config, where="day < '2026-01-02'")
    gold(sales, **config)
    assert sales.rows("gold.out", "revenue") == [10, 7]
    again = gold(sales, **config)
    assert (again.facts.rows_written, again.output["rows"]) == (0, 2)
    with pytest.raises(TaskFailed, match=r"more than one row for the key day = .*; deduplicate first"):
        gold(sales, query="SELECT day, amount AS revenue, 1 AS sales FROM sales", mode="merge", keys=["day"])


@pytest.mark.spark
def test_partitions_are_folders(sales: Project):
    gold(sales, **BY_DAY, partition_by=["day"])
    assert len(list(sales.path("gold.out").glob("day=2026-01-0*"))) == 2


@pytest.mark.spark
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {**BY_DAY, "input": "bronze.sale"},
            "input: table bronze.sale does not exist in .*; did you mean bronze.sales",
        ),
        (
            {"input": {"s": "nope"}, "query": "SELECT 1"},
            "input.s: table nope does not exist in .*; there are bronze.sales",
        ),
        ({**BY_DAY, "where": "shp = 'x'"}, "where: there is no column shp; did you mean shop"),
        ({**BY_DAY, "where": "shop"}, "where: 'shop' is string, not a condition"),
        ({**BY_DAY, "group_by": ["daay"]}, r"group_by\[0\]: there is no column daay; did you mean day"),
        ({"measures": {"n": "sum(amuont)"}}, "measures.n: there is no column amuont; did you mean amount"),
        ({"measures": {"n": "count(*)", "a": "amount"}}, "measures.a is not an aggregate"),
        ({"query": "SELECT * FROM sale"}, "query: there is no table sale; did you mean sales; the aliases are sales"),
        ({"query": "SELECT shp FROM sales"}, "query: there is no column shp; did you mean shop"),
        ({"query": "SELECT FROM WHERE"}, "query: "),
        ({"query": "SELECT 1 AS a, 2 AS A"}, "columns of one name: a, A"),
        ({**BY_DAY, "partition_by": ["month"]}, "partition_by: the result has no column month"),
        ({**BY_DAY, "mode": "merge", "keys": ["dya"]}, "keys: the result has no column dya; did you mean day"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_field(sales: Project, config, message):
    with pytest.raises(TaskFailed, match=message) as raised:
        gold(sales, **config)
    assert "\n" not in str(raised.value)
    assert not sales.exists("gold.out")
