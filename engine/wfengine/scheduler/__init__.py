"""Turns due instants into rows of the ledger and runs that wait to be started; executes nothing itself."""

from __future__ import annotations

from wfengine.scheduler.scheduler import Scheduler, Turn, trigger

__all__ = ["Scheduler", "Turn", "trigger"]
