"""Prometheus metrics of a daemon on this machine's loopback address, with the extra ``metrics``."""

from __future__ import annotations

from wfengine.metrics.server import MetricsServer, serve

__all__ = ["MetricsServer", "serve"]
