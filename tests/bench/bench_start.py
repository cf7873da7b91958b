"""How much longer ``wfengine --help`` takes than importing click."""

from __future__ import annotations

import sys

from timing import pairs


def measure() -> list[tuple[str, str, str]]:
    """Compare whole processes."""
    ours = [sys.executable, "-c", "from wfengine.cli import main; main(['--help'])"]
    bound = [sys.executable, "-c", "import click"]
    first, second, ratio = pairs(ours, bound, 15)
    return [("wfengine --help / import click", f"{ratio:.2f} ({first * 1000:.0f} ms / {second * 1000:.0f} ms)", "2.5")]
