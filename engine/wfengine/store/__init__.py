"""The state of a home: SQLite, the one truth about runs."""

from __future__ import annotations

from wfengine.store.asked import Request
from wfengine.store.figures import Backlog, Delay, Figures, Line, RunMark, TickMark
from wfengine.store.newrun import Executor, NewRun, Parameters
from wfengine.store.outbox import RUN_LOG, Failure, Outbox, Pending
from wfengine.store.reopening import Reopening
from wfengine.store.store import RunLock, Store
from wfengine.store.ticks import Lead, LedgerTx, Queue, Timing
from wfengine.store.transaction import Tx

__all__ = [
    "RUN_LOG",
    "Backlog",
    "Delay",
    "Executor",
    "Failure",
    "Figures",
    "Lead",
    "LedgerTx",
    "Line",
    "NewRun",
    "Outbox",
    "Parameters",
    "Pending",
    "Queue",
    "Reopening",
    "Request",
    "RunLock",
    "RunMark",
    "Store",
    "TickMark",
    "Timing",
    "Tx",
]
