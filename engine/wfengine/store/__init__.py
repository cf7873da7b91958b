"""The state of a home: SQLite, the one truth about runs."""

from __future__ import annotations

from wfengine.store.asked import Request
from wfengine.store.backup import Manifest, Restored, restore, run_folders
from wfengine.store.figures import Backlog, Delay, Figures, Line, RunMark, TickMark
from wfengine.store.inspection import AttemptLine, Dossier, EventLine, Inspection, Oddity, RepairLine, RunLine
from wfengine.store.newrun import Executor, NewRun, Parameters
from wfengine.store.outbox import RUN_LOG, Failure, Outbox, Pending
from wfengine.store.pruning import Old, Pruning
from wfengine.store.reopening import Reopening
from wfengine.store.store import RunLock, Store
from wfengine.store.ticks import Lead, LedgerTx, Queue, Timing
from wfengine.store.transaction import Tx

__all__ = [
    "RUN_LOG",
    "AttemptLine",
    "Backlog",
    "Delay",
    "Dossier",
    "EventLine",
    "Executor",
    "Failure",
    "Figures",
    "Inspection",
    "Lead",
    "LedgerTx",
    "Line",
    "Manifest",
    "NewRun",
    "Oddity",
    "Old",
    "Outbox",
    "Parameters",
    "Pending",
    "Pruning",
    "Queue",
    "Reopening",
    "RepairLine",
    "Request",
    "Restored",
    "RunLine",
    "RunLock",
    "RunMark",
    "Store",
    "TickMark",
    "Timing",
    "Tx",
    "restore",
    "run_folders",
]
