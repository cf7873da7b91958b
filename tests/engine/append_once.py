"""A task that appends the rows 0 to 99 to the table ``s.t``; killed and run again by test_spark_kills."""

from __future__ import annotations

import sys
from pathlib import Path

from structlog.testing import CapturingLogger

from wfengine.layer import TaskIdentity
from wfengine.spark import session
from wfengine.spark.tables import Tables

url, warehouse, attempt, step = sys.argv[1:]
identity = TaskIdentity(
    job_id=1, job_name="job", run_id=int(step), task_key="load", task_run_id=3, attempt_number=int(attempt)
)
spark = session.connect(url, warehouse=Path(warehouse), base=Path(warehouse), identity=identity, log=CapturingLogger())
tables = Tables(lambda: spark, Path(warehouse), identity)
tables.append("s.t", spark.range(100).selectExpr(f"id + 100 * {step} AS k"))
session.close(spark)
