"""Worker processes: starts attempts, stops them, and says how each ended. Knows no jobs."""

from wfengine.executor.client import ProcessExecutor
from wfengine.executor.messages import Executor, Launch, Report, ending
from wfengine.executor.tree import MARKER, die_with_parent, sweep

__all__ = ["MARKER", "Executor", "Launch", "ProcessExecutor", "Report", "die_with_parent", "ending", "sweep"]
