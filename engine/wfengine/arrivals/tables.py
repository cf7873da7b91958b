"""A trigger for changes of local Delta tables, told by their logs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from wfengine.arrivals.look import LOOK_MS, Look, Memory, Pace, kept, past, waiting, waits_until
from wfengine.errors import listed, shown
from wfengine.spark import deltalog, warehouse

#: What a look may stumble over: the file system, or a commit that is no JSON.
_TROUBLE = (OSError, msgspec.DecodeError, UnicodeDecodeError)


class _Known(Memory, frozen=True, omit_defaults=True):
    """The state of the trigger."""

    #: Newest version looked at by table; -1 when there was no table.
    versions: dict[str, int] = msgspec.field(default_factory=dict)
    #: Tables that changed since the last tick.
    updated: tuple[str, ...] = ()


class TableUpdate(Pace, frozen=True, kw_only=True):
    """Due when any or all of some tables have new data since the first look or the last tick.

    Commits that change no data, as those of OPTIMIZE or of new properties, do not count.
    """

    #: Folder of each table by the name in the job file.
    tables: dict[str, Path]
    #: ``ANY_UPDATED`` or ``ALL_UPDATED``.
    condition: str = "ANY_UPDATED"

    def look(self, state: Any, now: int) -> Look:
        """Compare the versions of the tables with those seen before; see `wfengine.arrivals.Arrival`."""
        known = _Known() if state is None else msgspec.convert(state, _Known)
        try:
            versions = {name: warehouse.version(path) for name, path in self.tables.items()}
            new = [name for name in self.tables if self._has_new_data(name, known.versions, versions[name])]
        except _TROUBLE as error:
            return Look(state=state, reason=f"a table cannot be read: {error}", next_look=now + LOOK_MS, fault=True)
        updated = tuple(name for name in self.tables if name in new or name in known.updated)
        memory = _Known(
            versions=versions,
            updated=updated,
            changed_at=now if new else past(known.changed_at, now),
            fired_at=past(known.fired_at, now),
        )
        if len(updated) < (len(self.tables) if self.condition == "ALL_UPDATED" else 1):
            return self._waits_for_tables(state, known, memory, now)
        what = f"updated: {listed([f'{shown(name)} (version {versions[name]})' for name in updated])}"
        until = waits_until(self, memory, now)
        if until > now:
            return Look(
                state=kept(state, known, memory), reason=waiting(what, until), next_look=min(now + LOOK_MS, until)
            )
        fired = _Known(versions=versions, fired_at=now)
        return Look(due=now, state=msgspec.to_builtins(fired), reason=what, next_look=now + LOOK_MS)

    def _has_new_data(self, name: str, versions: dict[str, int], version: int) -> bool:
        """Say whether a table got data since it was last looked at; one never looked at before did not."""
        before = versions.get(name, version)
        if version < before:  # dropped, or made anew
            return version >= 0
        # The newest first: most commits change data, so that one is enough.
        return any(_changes_data(self.tables[name], number) for number in range(version, before, -1))

    def _waits_for_tables(self, state: Any, known: _Known, memory: _Known, now: int) -> Look:
        missing = [name for name, version in memory.versions.items() if version < 0]
        pending = [name for name in self.tables if name not in memory.updated]
        reason = f"waits for {listed([shown(name) for name in pending])}"
        if missing:
            reason += f"; there is no table {listed([shown(name) for name in missing])}"
        return Look(state=kept(state, known, memory), reason=reason, next_look=now + LOOK_MS, fault=bool(missing))


def _changes_data(path: Path, number: int) -> bool:
    """Say whether a commit added, changed or removed rows; one whose file is gone may have."""
    actions = deltalog.commit(path, number)
    changes = [action[kind] for action in actions for kind in ("add", "remove") if action.get(kind)]
    return not actions or any(change.get("dataChange", True) for change in changes)
