"""Collects what one turn of a run changes and commits it as one; a full disk only delays it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from wfengine import log
from wfengine.errors import DiskFullError
from wfengine.events import AnyEvent
from wfengine.store import Tx


class Journal:
    """The changes of a run that are not committed yet, in order."""

    def __init__(
        self, transaction: Callable[[], AbstractContextManager[Tx]], committed: Callable[[list[AnyEvent]], None]
    ) -> None:
        """``committed`` is told of the events of each transaction after its commit."""
        self._transaction, self._committed = transaction, committed
        self._operations: list[Callable[[Tx], object]] = []
        self._events: list[AnyEvent] = []
        #: Whether the disk was full at the last commit; nothing new is to be started then.
        self.stuck = False

    def do(self, operation: Callable[[Tx], object]) -> None:
        """Add a change."""
        self._operations.append(operation)

    def tell(self, event: AnyEvent) -> None:
        """Add an event that tells of a change."""
        self._operations.append(lambda tx: tx.event(event))
        self._events.append(event)

    def commit(self) -> bool:
        """Store everything collected; False when the disk is full, and then it is kept for the next call.

        Raises StateError when the state cannot be used for another reason, FencedError when the run was taken over.
        """
        if self._operations:
            try:
                with self._transaction() as tx:
                    for operation in self._operations:
                        operation(tx)
            except DiskFullError as error:
                if not self.stuck:
                    log.get().error(
                        "no space to store what happened; nothing is started until there is", error=str(error)
                    )
                self.stuck = True
                return False
            self._operations = []
        if self.stuck:
            log.get().warning("there is space again; going on")
            self.stuck = False
        told, self._events = self._events, []
        if told:
            self._committed(told)
        return True
