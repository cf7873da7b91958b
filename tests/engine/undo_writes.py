"""A task that writes in every way, telling before each write; killed by test_undo."""

from __future__ import annotations

import sys
from pathlib import Path

from structlog.testing import CapturingLogger

from wfengine.layer import TaskIdentity
from wfengine.spark import session, touched
from wfengine.spark.touched import Touched

url, warehouse, folder, number = sys.argv[1:]
identity = TaskIdentity(
    job_id=1, job_name="job", run_id=7, task_key="load", task_run_id=3, attempt_number=int(number), trigger_time=5
)
notes = Touched(Path(folder, touched.FILE), Path(warehouse))
spark = session.connect(
    url, warehouse=Path(warehouse), base=Path(warehouse), identity=identity, log=CapturingLogger(), touched=notes
)
many = spark.range(100_000).selectExpr("id + 1000000 AS id", "id AS v")
WRITES = [
    lambda: many.write.mode("append").saveAsTable("s.orders"),
    lambda: spark.sql(
        "MERGE INTO s.orders t USING (SELECT 0L id, 7L v) x ON t.id = x.id WHEN MATCHED THEN UPDATE SET *"
    ),
    lambda: spark.sql("INSERT INTO s.orders SELECT id + 5000000, id FROM range(100000)"),
    lambda: spark.sql("UPDATE s.orders SET v = v + 1 WHERE id < 2"),
    lambda: many.write.saveAsTable("s.made"),
    lambda: spark.sql("DELETE FROM s.orders WHERE id = 1"),
]
for write in WRITES:
    print("next", flush=True)
    write()
print("next", flush=True)
sys.stdin.read()
