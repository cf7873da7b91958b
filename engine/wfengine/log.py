"""Structured logging, set up once per process."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger


def _printable(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Escape control characters in every text, so that one event is one line and no escape reaches a terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return event


def configure(form: str = "console", stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send the log to ``stream`` (default: standard error) as ``console`` lines for people or as ``json`` lines."""
    stream = stream or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def get(**bound: object) -> FilteringBoundLogger:
    """Return a logger that says ``bound`` with every line."""
    logger: FilteringBoundLogger = structlog.get_logger(**bound)
    return logger
