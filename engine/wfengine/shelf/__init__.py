"""The job files a daemon looks after: found, watched, and read again when they change (docs/triggers.md)."""

from __future__ import annotations

from wfengine.shelf.shelf import Changes, Content, Shelf, timing_fingerprint
from wfengine.shelf.watcher import Watcher, watch

__all__ = ["Changes", "Content", "Shelf", "Watcher", "timing_fingerprint", "watch"]
