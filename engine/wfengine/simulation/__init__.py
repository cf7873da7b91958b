"""What would happen: the daemon's own scheduler, fleet, runner and store, with time and attempts in thought.

`Simulation` is moved through time step by step; `play` goes from one moment to another and reports on every job.
"""

from __future__ import annotations

from wfengine.simulation.executor import SimulatedExecutor, VirtualClock
from wfengine.simulation.playing import play
from wfengine.simulation.report import ClockChange, JobReport, RunReport, TickReport, report
from wfengine.simulation.script import DURATION_MS, Ending, Script
from wfengine.simulation.world import Scene, Simulation

__all__ = [
    "DURATION_MS",
    "ClockChange",
    "Ending",
    "JobReport",
    "RunReport",
    "Scene",
    "Script",
    "SimulatedExecutor",
    "Simulation",
    "TickReport",
    "VirtualClock",
    "play",
    "report",
]
