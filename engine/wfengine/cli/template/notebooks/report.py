# Databricks notebook source
# MAGIC %md
# MAGIC # Revenue by day

# COMMAND ----------

dbutils.widgets.text("min_revenue", "0", "Days below this revenue are left out")

# COMMAND ----------

days = spark.table("gold.revenue_by_day").where(f"revenue >= {float(dbutils.widgets.get('min_revenue'))}")
display(days.orderBy("order_date"))

# COMMAND ----------

dbutils.notebook.exit(str(days.count()))
