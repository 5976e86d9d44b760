"""Structured logs: one JSON object a line.

`log = get_logger(__name__)`, then `log.info("instance started", instance_id=..., took_ms=...)`. The field `at` is UTC.
Never log request bodies, user-data, keys or tokens.
"""

from __future__ import annotations

import json
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from insula.base.clock import iso, now_utc

_FILE_BYTES = 10 * 1024 * 1024
_OLD_FILES = 4
# Libraries that tell at the level "info" what only their authors want to know.
_TALKATIVE = ("alembic", "uvicorn", "dbos", "sqlalchemy", "asyncio")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": iso(now_utc()),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= getattr(record, "fields", {})
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class Logger:
    """A logger whose keyword arguments become fields of the line."""

    def __init__(self, name: str) -> None:
        self._inner = logging.getLogger(name)

    def debug(self, message: str, **fields: Any) -> None:
        self._inner.debug(message, extra={"fields": fields})

    def info(self, message: str, **fields: Any) -> None:
        self._inner.info(message, extra={"fields": fields})

    def warning(self, message: str, **fields: Any) -> None:
        self._inner.warning(message, extra={"fields": fields})

    def error(self, message: str, *, exc_info: BaseException | bool = False, **fields: Any) -> None:
        self._inner.error(message, exc_info=exc_info, extra={"fields": fields})


def get_logger(name: str) -> Logger:
    return Logger(name)


def configure(level: str = "info", *, file: Path | None = None, stderr: bool = True) -> None:
    """Send all logs of this process as JSON lines to standard error, to `file`, or to both. May be called again.

    The file is rotated; with what it was before it takes 50 MiB at most. Raises OSError when it cannot be opened.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)] if stderr else []
    if file is not None:
        handlers.append(RotatingFileHandler(file, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
