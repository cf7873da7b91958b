"""Worker processes: starts attempts, stops them, and says how each ended. Knows no jobs."""

from wfengine.executor.client import ProcessExecutor
from wfengine.executor.messages import Executor, Launch, Report, ending
from wfengine.executor.tree import MARKER, sweep

__all__ = ["MARKER", "Executor", "Launch", "ProcessExecutor", "Report", "ending", "sweep"]
