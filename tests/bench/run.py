"""Measures wfengine against hand-written lower bounds, as ratios within one run: ``python tests/bench/run.py [NAME]...``.

No test asserts these figures: machines differ and are busy. Each bench prints what it measured and the bar it is held to.
"""

from __future__ import annotations

import importlib
import sys

#: Benches by name, each a module here with ``measure() -> Iterable[tuple[what, figure, bar]]``.
BENCHES = ("start", "thousand", "main_job", "million", "ten_million", "kills", "daemon")


def main(names: list[str]) -> int:
    """Run the benches named, or all."""
    for name in names or BENCHES:
        if name not in BENCHES:
            print(f"there is no bench {name!r}; there are {', '.join(BENCHES)}")
            return 2
        print(f"{name}:", flush=True)
        for what, figure, bar in importlib.import_module(f"bench_{name}").measure():
            print(f"  {what}: {figure}   (bar: {bar})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
