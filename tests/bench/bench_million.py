"""Events through the three layers, against a hand-written PySpark script that does the same work on the same engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import Peak, wall

CONF = Path(__file__).parents[2] / "conf"

#: The same three layers by hand, with the engine's own (lossy) CSV reader; clean input, for it fails on ragged rows.
SCRIPT = """
import os, sys, threading
from pathlib import Path
from pysail.spark import SparkConnectServer
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
_, port = server.listening_address
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote(f"sc://localhost:{port}").getOrCreate()
spark.conf.set("spark.sql.session.timeZone", "UTC")
source, out, how = sys.argv[1:]
raw = spark.read.option("header", True).csv(source)
from pyspark.sql import functions as F
raw.withColumn("_ingested_at", F.current_timestamp()).write.format("delta").mode("append").save(f"{out}/bronze")
bronze = spark.read.format("delta").load(f"{out}/bronze")
typed = bronze.select(
    F.expr("try_to_timestamp(replace(event_time, ' UTC', ''))").alias("event_time"), "event_type",
    F.expr("try_cast(product_id AS bigint)").alias("product_id"), F.expr("try_cast(category_id AS bigint)").alias("category_id"),
    "category_code", "brand", F.expr("try_cast(price AS decimal(10,2))").alias("price"),
    F.expr("try_cast(user_id AS bigint)").alias("user_id"), "user_session")
good = typed.where("event_time IS NOT NULL AND event_type IN ('view','cart','remove_from_cart','purchase') AND price >= 0 AND user_session IS NOT NULL")
keys = ["event_time", "event_type", "product_id", "user_id", "user_session"]
rest = [c for c in good.columns if c not in keys]
if how == "whole rows":
    unique = good.dropDuplicates(keys)
else:
    unique = good.groupBy(*keys).agg(*[F.min(c).alias(c) for c in rest])
silver = unique.selectExpr("*", "CAST(event_time AS DATE) AS event_date", "split(category_code, '[.]')[0] AS category",
    "CASE WHEN event_type = 'purchase' THEN price ELSE CAST(0 AS DECIMAL(10,2)) END AS revenue")
silver.write.format("delta").mode("overwrite").save(f"{out}/silver")
s = spark.read.format("delta").load(f"{out}/silver")
bought = s.where("event_type = 'purchase'")
bought.groupBy("event_date", "category").agg(F.expr("sum(revenue)"), F.expr("count(*)"), F.expr("count(DISTINCT user_id)")).toDF("d", "c", "revenue", "purchases", "buyers").write.format("delta").mode("overwrite").save(f"{out}/daily")
s.groupBy("event_date").agg(*[F.expr(f"count(*) FILTER (WHERE event_type = '{t}')").alias(t) for t in ("view", "cart", "purchase")]).write.format("delta").mode("overwrite").save(f"{out}/funnel")
bought.where("brand IS NOT NULL").groupBy("brand").agg(F.expr("sum(revenue)").alias("revenue"), F.expr("count(*)").alias("n"), F.expr("avg(price)").alias("a")).write.format("delta").mode("overwrite").save(f"{out}/brands")
spark.stop()
os._exit(0)
"""


def events(folder: Path, rows: int) -> Path:
    """Write ``rows`` events without ragged rows, which the engine's own reader cannot take."""
    sys.path.insert(0, str(CONF))
    import demo_data

    target = folder / "events"
    demo_data.generate(target, rows, 7, 7)
    for file in target.glob("*.csv"):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if line.count(",") == 8))
    return target


def project(folder: Path) -> list[str]:
    """Make a project of the main job and return the command that runs it."""
    shutil.copytree(CONF, folder / "conf")
    (folder / "wfengine.toml").touch()
    return [sys.executable, "-c", "from wfengine.cli import main; main()", "run-once", "conf/medallion.yml"]


#: Ways to keep one row of each key by hand: the same work, and a bound below it that may mix the columns of two rows.
HANDS = ("whole rows", "mixed rows")


def measure(rows: int = 1_000_000, rounds: int = 3) -> list[tuple[str, str, str]]:
    """Take all in turn on the same files; the best of each counts."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as top:
        source = events(Path(top), rows)
        for number in range(rounds):
            folder = Path(top) / str(number)
            folder.mkdir()
            command = [*project(folder), "--param", f"source={source}"]
            times.setdefault("wfengine", []).append(wall(command, cwd=folder))
            for hand in HANDS:
                script = [sys.executable, "-c", SCRIPT, str(source), str(folder / hand), hand]
                times.setdefault(hand, []).append(wall(script, cwd=folder))
    best = {name: min(found) for name, found in times.items()}
    return [
        (
            f"{rows:,} events: wfengine / script, {hand}",
            f"{best['wfengine'] / best[hand]:.2f} ({best['wfengine']:.1f} s / {best[hand]:.1f} s)",
            "2",
        )
        for hand in HANDS
    ]


def memory(rows: int) -> tuple[float, float]:
    """Run the main job on ``rows`` events; return wall seconds and the peak of the process tree in GB."""
    import time

    with tempfile.TemporaryDirectory() as top:
        source = events(Path(top), rows)
        folder = Path(top) / "run"
        folder.mkdir()
        command = [*project(folder), "--param", f"source={source}"]
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, env=dict(os.environ))
        peak = Peak(process.pid)
        code = process.wait()
        took = time.perf_counter() - begun
        found = peak.close() / 1e9
        if code:
            raise RuntimeError(f"the main job on {rows:,} events exited with {code}")
        return took, found
