"""The main job of the README on the demo's data, and what a second run does."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import deltalake
import pytest
from story.driver import results

pytestmark = pytest.mark.spark


def table(project, name):
    return deltalake.DeltaTable(project.root / "warehouse" / name.replace(".", "/")).to_pyarrow_table()


@pytest.fixture(scope="module")
def first(examples):
    return examples.json("run-once", "conf/medallion.yml")


def raw_lines(examples):
    files = sorted((examples.root / "data" / "events").glob("*.csv"))
    return [line for file in files for line in file.read_text().splitlines()[1:]]


def independent(lines):
    """Calculate silver and gold from the raw lines with nothing but the standard library."""
    seen, revenue = {}, {}
    rejected = 0
    for row in csv.reader(lines):
        if len(row) != 9:
            continue
        time, kind, product, _, code, brand, price, user, session = row
        valid = time.endswith(" UTC") and kind in ("view", "cart", "remove_from_cart", "purchase")
        valid = valid and price.replace(".", "", 1).isdigit() and session
        if not valid:
            rejected += 1
            continue
        seen.setdefault((time, kind, product, user, session), (time[:10], kind, code, brand, Decimal(price)))
    for day, kind, code, _, price in seen.values():
        if kind == "purchase":
            key = (day, code.split(".")[0])
            total, count = revenue.get(key, (Decimal(0), 0))
            revenue[key] = (total + price, count + 1)
    return len(seen), rejected, revenue


def test_every_task_succeeds_and_every_row_is_accounted_for(first, examples):
    assert set(results(first).values()) == {"SUCCESS"}
    lines = raw_lines(examples)
    whole = [line for line in lines if line.count(",") == 8]
    bronze = next(task for task in first["tasks"] if task["task_key"] == "bronze")["wfengine"]["facts"]
    assert (bronze["rows_read"], bronze["rows_written"], bronze["rows_rejected"]) == (
        len(lines), len(whole), len(lines) - len(whole),
    )  # fmt: skip
    assert table(examples, "bronze.events").num_rows == len(whole)
    assert table(examples, "bronze.events_quarantine").num_rows == len(lines) - len(whole)


def test_silver_and_gold_equal_an_independent_calculation(first, examples):
    unique, rejected, revenue = independent(raw_lines(examples))
    silver = next(task for task in first["tasks"] if task["task_key"] == "silver")["wfengine"]["facts"]
    assert silver["rows_written"] == unique == table(examples, "silver.events").num_rows
    assert silver["rows_rejected"] == rejected == table(examples, "silver.events_quarantine").num_rows
    assert silver["rows_read"] == unique + rejected + silver["rows_duplicate"]
    gold = table(examples, "gold.daily_sales").to_pylist()
    assert {(str(r["event_date"]), r["category"]): (r["revenue"], r["purchases"]) for r in gold} == revenue


def test_a_second_run_ingests_nothing_and_changes_no_table(first, examples):
    """docs/reliability.md, E3: a rerun is safe for the tables."""
    names = (
        "bronze.events",
        "bronze.events_quarantine",
        "silver.events",
        "silver.events_quarantine",
        "gold.daily_sales",
    )
    before = {name: sorted(map(str, table(examples, name).to_pylist())) for name in names}
    again = examples.json("run-once", "conf/medallion.yml")
    bronze = next(task for task in again["tasks"] if task["task_key"] == "bronze")["wfengine"]["facts"]
    assert bronze.get("rows_written") == 0
    assert {name: sorted(map(str, table(examples, name).to_pylist())) for name in names} == before


def test_people_are_told_where_the_tables_are_and_what_to_do_next(first, examples):
    out = examples.run("run-once", "conf/medallion.yml").stdout
    assert str(examples.root / "warehouse") in out
    assert "gold.daily_sales" in out
    assert "wfengine show" in out
    shown = examples.run("show", str(first["run_id"])).stdout
    assert "output bronze.events version -1 -> 0" in shown
    assert "expectation revenue_is_positive holds" in shown


def test_one_notebook_serves_three_layers(examples):
    run = examples.json("run-once", "conf/notebook-medallion.yml")
    assert set(results(run).values()) == {"SUCCESS"}
    notebooks = [task for task in run["tasks"] if "notebook_task" in task]
    assert len(notebooks) >= 3
    assert len({task["notebook_task"]["notebook_path"] for task in notebooks}) == 1


def test_the_same_job_takes_any_other_folder_by_parameter(first, examples, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    source = sorted((examples.root / "data" / "events").glob("*.csv"))[0]
    (folder / "one.csv").write_bytes(source.read_bytes())
    other = type(examples)(tmp_path / "other")
    for file in (examples.root / "conf").glob("*.*"):
        other.write(f"conf/{file.name}", file.read_text())
    run = other.json("run-once", "conf/medallion.yml", "--param", f"source={folder}")
    assert set(results(run).values()) == {"SUCCESS"}
    rows = table(other, "bronze.events").column("_source_file").to_pylist()
    assert {Path(name).name for name in rows} == {"one.csv"}


def test_the_project_that_init_writes_runs(tmp_path, project):
    project.run("init", "shop")
    shop = type(project)(project.root / "shop")
    run = shop.json("run-once", "pipeline.yml")
    assert set(results(run).values()) == {"SUCCESS"}
    gold = {str(row["order_date"]): row["revenue"] for row in table(shop, "gold.revenue_by_day").to_pylist()}
    assert gold == {"2024-01-05": Decimal("348.50"), "2024-01-06": Decimal("457.00")}
    assert "exists already" in project.run("init", "shop", code=2).stderr
