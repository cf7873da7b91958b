"""10,000 schedules are loaded, asked and all due at once within seconds of CPU (docs/semantics.md, section 7)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = 10_000
#: Bars in seconds of CPU; the waits for the disk come on top.
LOAD, IDLE, DUE = 3.0, 0.001, 3.0

MEASURE = f"""
import json, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from ticking import DAY, World, job

ZONES = ("Europe/Berlin", "UTC", "America/New_York", "Asia/Tokyo")
world = World(Path(sys.argv[1]) / "home")
jobs = [job(f"j{{n}}", f"{{n % 60}} {{n // 60 % 60}} {{n % 24}} * * ?", zone=ZONES[n % 4]) for n in range({COUNT})]
clock = time.process_time
begin = clock()
world.load(*jobs)
loaded = clock()
for _ in range(100):
    world.tick()
idle = clock()
turn = world.tick(DAY)
due = clock()
print(json.dumps({{
    "created": len(set(turn.created)), "load": loaded - begin, "idle": (idle - loaded) / 100, "due": due - idle,
}}))
"""


@pytest.mark.faults
def test_ten_thousand_schedules_stay_within_bounds(tmp_path):
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout)
    print(", ".join(f"{name} {value:.5g}" for name, value in measured.items()))
    assert measured["created"] == COUNT
    assert measured["load"] < LOAD
    assert measured["idle"] < IDLE
    assert measured["due"] < DUE
