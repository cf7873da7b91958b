"""A year of 100 jobs is simulated within 20 s on two cores (docs/schedules.md)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

JOBS = 100
#: Bars: seconds of CPU in all processes together, and MiB of the largest.
CPU_SECONDS = 40
MEMORY_MIB = 400

MEASURE = """
import json, resource, sys
from wfengine.cli import main

try:
    main(["simulate", sys.argv[1], "--from", "2026-01-01", "--to", "2027-01-01", "--output", "json"])
finally:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    print(json.dumps({"cpu": cpu, "mib": max(one.ru_maxrss for one in used) / scale}), file=sys.stderr)
"""


@pytest.mark.slow
def test_a_year_of_a_hundred_jobs_is_simulated_in_seconds(tmp_path):
    for n in range(JOBS):
        (tmp_path / f"job{n}.yml").write_text(
            f"name: job{n}\n"
            f'schedule: {{quartz_cron_expression: "0 {n % 60} {n % 24} * * ?", timezone_id: Europe/Berlin}}\n'
            "tasks: [{task_key: load, shell_task: {command: [load]}}]\n"
        )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    jobs = json.loads(done.stdout)["jobs"]
    assert {(job["due"], job["started"], job["results"]["SUCCESS"]) for job in jobs} == {(365, 365, 365)}
    assert len(jobs) == JOBS
    used = json.loads(done.stderr)
    print(used)
    assert used["cpu"] < CPU_SECONDS, used
    assert used["mib"] < MEMORY_MIB, used
