# Databricks notebook source
# MAGIC %md
# MAGIC # One notebook, three layers
# MAGIC Each task of the job runs this notebook with another `layer_name`. It runs unchanged on Databricks.
# MAGIC Every table is replaced as a whole, so a task may run again at any time.

# COMMAND ----------

import json

from pyspark.sql import functions as F

dbutils.widgets.dropdown("layer_name", "bronze", ["bronze", "silver", "gold"], "Layer")
dbutils.widgets.text("source_path", "../data/events", "Folder of CSV files (bronze)")
dbutils.widgets.text("input_table", "", "Table to read (silver and gold)")
dbutils.widgets.text("target_table", "shop.bronze_events", "Table to write")

layer_name = dbutils.widgets.get("layer_name")
target = dbutils.widgets.get("target_table")

# COMMAND ----------

# MAGIC %sql
# MAGIC CREATE SCHEMA IF NOT EXISTS shop

# COMMAND ----------

# MAGIC %md
# MAGIC ## Bronze: every line as it came
# MAGIC Lines are split here and not by a CSV reader: readers differ in what they do with ragged rows, and some lose
# MAGIC them. A line with another number of fields goes to the quarantine. These files have no quoted commas.

# COMMAND ----------

HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
COLUMNS = HEADER.split(",")


def save(frame, table):
    """Replace a table and return its number of rows."""
    frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").saveAsTable(table)
    return spark.table(table).count()


def bronze():
    lines = spark.read.text(dbutils.widgets.get("source_path")).where(F.col("value") != HEADER)
    lines = lines.withColumn("fields", F.split("value", ",", -1)).withColumn("_ingested_at", F.current_timestamp())
    fits = F.size("fields") == len(COLUMNS)
    named = [F.col("fields")[at].alias(name) for at, name in enumerate(COLUMNS)]
    reason = F.concat(F.size("fields").cast("string"), F.lit(f" fields instead of {len(COLUMNS)}"))
    rejected = lines.where(~fits).select(F.col("value").alias("_record"), reason.alias("_reason"), "_ingested_at")
    rows = save(lines.where(fits).select(*named, "_ingested_at"), target)
    return {"rows": rows, "rejected": save(rejected, target + "_quarantine")}


# COMMAND ----------

# MAGIC %md
# MAGIC ## Silver: typed, valid, unique
# MAGIC ## Gold: revenue, purchases and buyers by day and category

# COMMAND ----------


def silver():
    source = spark.table(dbutils.widgets.get("input_table"))
    typed = source.selectExpr(
        "try_to_timestamp(replace(event_time, ' UTC', '')) AS event_time",
        "event_type",
        "try_cast(product_id AS BIGINT) AS product_id",
        "nullif(category_code, '') AS category_code",
        "nullif(brand, '') AS brand",
        "try_cast(price AS DECIMAL(10, 2)) AS price",
        "try_cast(user_id AS BIGINT) AS user_id",
        "user_session",
    )
    known = F.col("event_type").isin("view", "cart", "remove_from_cart", "purchase")
    valid = typed.where(known & (F.col("price") >= 0) & F.col("event_time").isNotNull())
    unique = valid.dropDuplicates(["event_time", "event_type", "product_id", "user_id", "user_session"])
    rows = save(unique.withColumn("event_date", F.to_date("event_time")), target)
    return {"rows": rows, "left_out": dbutils.jobs.taskValues.get("bronze", "rows", default=0, debugValue=0) - rows}


def gold():
    sales = spark.table(dbutils.widgets.get("input_table")).where("event_type = 'purchase'")
    daily = sales.groupBy("event_date", F.split("category_code", "[.]")[0].alias("category")).agg(
        F.sum("price").alias("revenue"), F.count("*").alias("purchases"), F.countDistinct("user_id").alias("buyers")
    )
    return {"rows": save(daily, target)}


# COMMAND ----------

result = {"bronze": bronze, "silver": silver, "gold": gold}[layer_name]()
dbutils.jobs.taskValues.set("rows", result["rows"])

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT * FROM IDENTIFIER(:target_table) LIMIT 5

# COMMAND ----------

dbutils.notebook.exit(json.dumps(result))
