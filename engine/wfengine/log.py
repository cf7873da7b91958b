"""Structured logging, set up once per process."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

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
    structlog.configure(**_settings(form, stream or sys.stderr, level), cache_logger_on_first_use=False)


def get(**bound: object) -> FilteringBoundLogger:
    """Return a logger that says ``bound`` with every line.

    A program that has configured structlog itself gets the lines its own way; in one that has not, only warnings are
    shown, on standard error.
    """
    logger: FilteringBoundLogger
    if structlog.is_configured():
        logger = structlog.get_logger(**bound)
    else:
        quiet = _settings("console", sys.stderr, logging.WARNING)
        factory = quiet.pop("logger_factory")
        logger = structlog.wrap_logger(factory(), **quiet).bind(**bound)
    return logger


def _settings(form: str, stream: TextIO, level: int) -> dict[str, Any]:
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    return {
        "processors": [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _printable,
            renderer,
        ],
        "wrapper_class": structlog.make_filtering_bound_logger(level),
        "logger_factory": structlog.WriteLoggerFactory(file=stream),
    }
