"""The worker's own logging: one handler on the ``talo`` logger, if the application has not set up logging itself.

Never touches the root logger. ``signals.setup_logging`` with a receiver switches all of it off, as in Celery. Levels
are coloured where a terminal reads. Called by ``worker.main``."""

from __future__ import annotations

import logging
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from talo import signals
from talo.util.files import private
from talo.worker.jsonlog import JsonFormatter

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["name_process", "set_up_logging", "wants_colour"]

_DEFAULT_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
#: The form of lines that are objects.
JSON = "json"
#: Escape sequences by level; the ordinary is left as it is.
_COLOURS = {logging.DEBUG: "2", logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "1;31"}


class _ProcessName(logging.Filter):
    """Gives records the name of the process's role; the standard library knows only ``multiprocessing``'s."""

    name_of_process = "MainProcess"

    def filter(self, record: logging.LogRecord) -> bool:
        record.processName = self.name_of_process
        return True


class _PrivateFile(logging.FileHandler):
    """A log shows arguments and results: who makes the file keeps it for its owner."""

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, opener=private)


class _Coloured(logging.Formatter):
    """Lines in the colour of their level."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        colour = _COLOURS.get(record.levelno)
        return f"\033[{colour}m{line}\033[0m" if colour else line


def _formatter(form: str, dates: str | None, colour: bool) -> logging.Formatter:
    if form == JSON:
        return JsonFormatter()
    return (_Coloured if colour else logging.Formatter)(form, dates)


def name_process(name: str) -> None:
    """Set the name that this process's log lines show."""
    _ProcessName.name_of_process = name


def wants_colour(app: Talo, stream: IO[str]) -> bool:
    """Whether to colour what goes there: as ``worker_log_color`` says, else where a terminal reads and NO_COLOR is
    not set."""
    chosen = app.conf.worker_log_color
    if chosen is not None:
        return bool(chosen)
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def set_up_logging(app: Talo, level: int, logfile: str | None) -> None:
    """Give the ``talo`` logger a level and, unless logging is set up already, a handler (stderr, or ``logfile``).

    ``OSError`` when the file cannot be opened.
    """
    conf = app.conf
    colour = logfile is None and wants_colour(app, sys.stderr)
    told: dict[str, Any] = {
        "loglevel": level,
        "logfile": logfile,
        "format": conf.worker_log_format or _DEFAULT_FORMAT,
        "colorize": colour,
    }
    if signals.setup_logging.receivers:
        signals.setup_logging.send(sender=None, **told)
        return
    logger = logging.getLogger("talo")
    logger.setLevel(level)
    if logger.handlers or (logger.hasHandlers() and logfile is None):
        # The application's own handlers get our records; nothing is added and nothing taken away.
        if told["format"] == JSON:
            logger.warning(
                "Log lines are as your own handlers write them, not JSON: give these handlers the formatter "
                "talo.worker.jsonlog.JsonFormatter"
            )
        return
    handler: logging.Handler
    if logfile is not None:
        handler = _PrivateFile(logfile, encoding="utf-8")
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ProcessName())
    handler.setFormatter(_formatter(told["format"], conf.worker_log_datefmt, colour))
    logger.addHandler(handler)
    logger.propagate = False
    signals.after_setup_logger.send(sender=None, logger=logger, **told)
