"""Whether memory grows with the size of the input: 1 and 10 million events through the main job."""

from __future__ import annotations

from bench_million import memory


def measure() -> list[tuple[str, str, str]]:
    """Report the peak of the whole process tree, the engine's server included; shared pages are counted per process."""
    rows = []
    for count in (1_000_000, 10_000_000):
        took, peak = memory(count)
        rows.append((f"{count:,} events", f"{peak:.1f} GB at most, {took:.0f} s", "5 GB"))
    return rows
