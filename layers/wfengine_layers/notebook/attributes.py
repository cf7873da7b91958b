"""What all parts of ``dbutils`` have in common: they list what they have, also to who asks for more."""

from __future__ import annotations

import sys
from typing import NoReturn


class Attributes:
    """Base class of ``dbutils`` and its parts."""

    _name: str

    def __getattr__(self, name: str) -> NoReturn:
        """Say what there is; only called for what there is not."""
        raise AttributeError(f"{self._name}.{name} is not supported; {self._name} has {', '.join(self._names())}")

    def help(self) -> None:
        """Write what there is to the log."""
        lines = [f"{self._name}:"]
        for name in self._names():
            first = (getattr(self, name).__doc__ or "").strip().split("\n")[0]
            lines.append(f"  {name}: {first}")
        sys.stdout.write("\n".join(lines) + "\n")

    def _names(self) -> list[str]:
        found = {*vars(type(self)), *vars(self)} - {"help"}
        return [*sorted(name for name in found if not name.startswith("_")), "help"]
