"""The worker's own logging: one handler on the ``talo`` logger, if the application has not set up logging itself.

Never touches the root logger. ``signals.setup_logging`` with a receiver switches all of it off, as in Celery. Called
by ``worker.main``."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from talo import signals

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["name_process", "set_up_logging"]

_DEFAULT_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"


class _ProcessName(logging.Filter):
    """Gives records the name of the process's role; the standard library knows only ``multiprocessing``'s."""

    name_of_process = "MainProcess"

    def filter(self, record: logging.LogRecord) -> bool:
        record.processName = self.name_of_process
        return True


def name_process(name: str) -> None:
    """Set the name that this process's log lines show."""
    _ProcessName.name_of_process = name


def set_up_logging(app: Talo, level: int, logfile: str | None) -> None:
    """Give the ``talo`` logger a level and, unless logging is set up already, a handler (stderr, or ``logfile``)."""
    if signals.setup_logging.receivers:
        signals.setup_logging.send(
            sender=None, loglevel=level, logfile=logfile, format=app.conf.worker_log_format, colorize=False
        )
        return
    logger = logging.getLogger("talo")
    logger.setLevel(level)
    if logger.handlers or (logging.getLogger().handlers and logfile is None):
        # The application's own handlers get our records; nothing is added and nothing taken away.
        return
    handler: logging.Handler = logging.FileHandler(logfile) if logfile else logging.StreamHandler(sys.stderr)
    handler.addFilter(_ProcessName())
    handler.setFormatter(logging.Formatter(app.conf.worker_log_format or _DEFAULT_FORMAT, app.conf.worker_log_datefmt))
    logger.addHandler(handler)
    logger.propagate = False
    signals.after_setup_logger.send(
        sender=None, logger=logger, loglevel=level, logfile=logfile, format=app.conf.worker_log_format, colorize=False
    )
