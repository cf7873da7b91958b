"""The state of a home: SQLite, the one truth about runs."""

from __future__ import annotations

from wfengine.store.outbox import RUN_LOG, Failure, Outbox, Pending
from wfengine.store.store import RunLock, Store
from wfengine.store.transaction import Tx

__all__ = ["RUN_LOG", "Failure", "Outbox", "Pending", "RunLock", "Store", "Tx"]
