"""A job of 10,000 tasks is validated within 5 s of CPU and 500 MiB (docs/reliability.md, C4)."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

COUNT = 10_000
CPU_SECONDS = 5
MEMORY_MIB = 500

MEASURE = """
import json, resource, sys
from pathlib import Path
import msgspec
from wfengine.jobfile import read
from wfengine.layer import Layer

class Config(msgspec.Struct):
    callable: str
    parameters: dict[str, str] = {}

class Python(Layer[Config]):
    name = "python"
    Config = Config
    def run(self, context):
        raise NotImplementedError

path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF)
found = read(path, {"python": Python}, root=path.parent)
after = resource.getrusage(resource.RUSAGE_SELF)
used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
scale = 1024 * 1024 if sys.platform == "darwin" else 1024
print(json.dumps({"tasks": len(found.job.tasks), "cpu": used, "mib": after.ru_maxrss / scale}))
"""


def job(upstreams, first):
    """A job whose task ``i`` waits for ``upstreams(i)`` and refers to one of them, or to the ``first`` of all."""
    lines = ["name: big", "parameters: {day: 2024-01-05}", "tasks:"]
    for i in range(COUNT):
        above = upstreams(i)
        value = f"tasks.t{0 if first else above[0]}.values.n" if above else "job.parameters.day"
        lines += [
            f"- task_key: t{i}",
            f"  depends_on: [{', '.join(f't{n}' for n in above)}]",
            "  max_retries: 2",
            "  timeout_seconds: 600",
            "  python_task:",
            "    callable: package.module:function",
            f'    parameters: {{day: "{{{{{value}}}}}", far: "{{{{job.parameters.day}}}}", n: {i}}}',
        ]
    return "\n".join(lines) + "\n"


def before(shape, i, choose):
    """Return the tasks that task ``i`` waits for."""
    if shape == "random":
        return sorted(choose.sample(range(i), min(i, 3)))
    return [] if i == 0 else [0] if shape == "star" else [i - 1]


@pytest.mark.faults
@pytest.mark.parametrize("shape", ["chain", "star", "random", "chain that refers to its first task"])
def test_ten_thousand_tasks_are_validated_within_bounds(shape, tmp_path):
    choose = random.Random(4)
    path = tmp_path / "job.yml"
    path.write_text(job(lambda i: before(shape, i, choose), first="first" in shape))
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout)
    print(f"{shape}: {measured['cpu']:.2f} s, {measured['mib']:.0f} MiB")
    assert measured["tasks"] == COUNT
    assert measured["cpu"] < CPU_SECONDS
    assert measured["mib"] < MEMORY_MIB
