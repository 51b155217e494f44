"""Logging as Celery's users know it: its logger names, its task format, ``app.log``.

Owns the bridge: under the alias the records of Talo's workers carry Celery's logger names, and what applications
configure for those names holds. The worker's own handler is ``worker.logs``'s; here it is given to the loggers that
Celery's worker gives it to.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

from talo import signals
from talo.app.current import get_current_app
from talo.execution.request import current_frame

__all__ = [
    "DEFAULT_PROCESS_LOG_FMT",
    "DEFAULT_TASK_LOG_FMT",
    "ColorFormatter",
    "Logging",
    "TaskFormatter",
    "adopt_names",
    "base_logger",
    "get_logger",
    "get_task_logger",
    "mlevel",
    "task_logger",
    "worker_logger",
]

DEFAULT_PROCESS_LOG_FMT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
DEFAULT_TASK_LOG_FMT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"
#: Talo's loggers and the names that applications know them by.
NAMES = {
    "talo": "celery",
    "talo.worker": "celery.worker",
    "talo.task": "celery.app.trace",
    "talo.beat": "celery.beat",
    "talo.app": "celery.app",
}

base_logger = logging.getLogger("celery")
worker_logger = logging.getLogger("celery.worker")
task_logger = logging.getLogger("celery.task")
redirected_logger = logging.getLogger("celery.redirected")


def get_logger(name: str) -> logging.Logger:
    """A logger below ``celery``, if it is not somewhere else already."""
    return logging.getLogger(name)


def get_task_logger(name: str) -> logging.Logger:
    """A logger for task code: below ``celery.task``, so that its lines carry the task."""
    if name in ("celery", "celery.task"):
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    logger = logging.getLogger(name)
    if logger.parent is None or logger.parent.name != "celery.task":
        logger.parent = task_logger
    return logger


def mlevel(level: int | str | None) -> int:
    """The number of a level."""
    if level is None or isinstance(level, int):
        return level or 0
    return logging.getLevelNamesMapping()[level.upper()]


class ColorFormatter(logging.Formatter):
    """A formatter; colours are the worker's."""

    def __init__(self, fmt: str | None = None, datefmt: str | None = None, use_color: bool = True) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color


class TaskFormatter(ColorFormatter):
    """A formatter whose records have ``task_id`` and ``task_name``; ``???`` outside of tasks."""

    def format(self, record: logging.LogRecord) -> str:
        frame = current_frame()
        if frame is not None and frame.request.id:
            record.__dict__.update(task_id=frame.request.id, task_name=frame.task.name)
        else:
            record.__dict__.setdefault("task_name", "???")
            record.__dict__.setdefault("task_id", "???")
        return super().format(record)


def adopt_names() -> None:
    """Let the records of Talo's loggers carry Celery's names, and reach the handlers that are set for those."""
    for ours, theirs in NAMES.items():
        logger = logging.getLogger(ours)
        logger.name = theirs
        if ours == "talo":
            # The records of all the others come up through it.
            logger.parent = base_logger
    signals.after_setup_logger.connect(_share_handler, dispatch_uid="talo.compat")
    signals.worker_process_init.connect(_redirect, dispatch_uid="talo.compat")


def _redirect(**_more: Any) -> None:
    """What tasks print becomes log lines, in the processes that run tasks."""
    conf = get_current_app().conf
    if conf.worker_redirect_stdouts:
        level = mlevel(conf.worker_redirect_stdouts_level)
        sys.stdout = LoggingProxy(redirected_logger, level)
        sys.stderr = LoggingProxy(redirected_logger, level)


def _share_handler(logger: logging.Logger, loglevel: int, **told: Any) -> None:
    """The worker has given Talo's logger a handler: give it to the loggers that Celery's worker gives it to."""
    if logger is not logging.getLogger("talo"):
        return
    conf = get_current_app().conf
    target = logging.getLogger() if conf.worker_hijack_root_logger else base_logger
    for handler in logger.handlers:
        target.addHandler(handler)
        _give_tasks(handler, conf.worker_task_log_format, loglevel, told)
    target.setLevel(loglevel)


def _give_tasks(handler: logging.Handler, form: str, level: int, told: dict[str, Any]) -> None:
    """Let ``celery.task`` write to the same place, in the task format."""
    twin = logging.StreamHandler(handler.stream) if isinstance(handler, logging.StreamHandler) else handler
    for each in handler.filters:
        twin.addFilter(each)
    twin.setFormatter(TaskFormatter(form, get_current_app().conf.worker_task_log_datefmt))
    task_logger.addHandler(twin)
    task_logger.setLevel(level)
    task_logger.propagate = False
    facts = {"logfile": told.get("logfile"), "colorize": told.get("colorize")}
    signals.after_setup_task_logger.send(sender=None, logger=task_logger, loglevel=level, format=form, **facts)


class LoggingProxy:
    """A file whose lines are log records."""

    closed = False
    encoding = "utf-8"
    mode = "w"
    name = None

    def __init__(self, logger: logging.Logger, loglevel: int | None = None) -> None:
        self.logger = logger
        self.loglevel = loglevel or logger.level
        # A handler that fails says so on stderr, which may be this very file.
        self._inside = threading.local()

    def write(self, data: Any) -> int:
        """Log a text, unless it is empty or comes from the logging of another one."""
        text = str(data).rstrip("\n")
        if text.strip() and not getattr(self._inside, "now", False):
            self._inside.now = True
            try:
                self.logger.log(self.loglevel, "%s", text)
            finally:
                self._inside.now = False
        return len(str(data))

    def writelines(self, sequence: Any) -> None:
        """Log several."""
        for part in sequence:
            self.write(part)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """It stays open."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def fileno(self) -> int:
        """The descriptor of the process's real stderr, for those that need one."""
        return 2


class Logging:
    """``app.log``: what an application asks of logging. A worker's own is set up by the worker."""

    already_setup = False

    def __init__(self, app: Any) -> None:
        self.app = app
        self.loglevel = mlevel(logging.WARNING)
        self.format = app.conf.worker_log_format
        self.task_format = app.conf.worker_task_log_format

    def setup(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        redirect_stdouts: bool = False,
        redirect_level: str = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> bool:
        """Set logging up; return whether it was set up before."""
        del redirect_stdouts, redirect_level
        return self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)

    def setup_logging_subsystem(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        format: str | None = None,
        colorize: bool | None = None,
        hostname: str | None = None,
        **_kwargs: Any,
    ) -> bool:
        """Give the loggers of Celery's names a level and a handler, unless a receiver of ``setup_logging`` does."""
        del hostname
        if Logging.already_setup:
            return True
        Logging.already_setup = True
        level = mlevel(loglevel or self.loglevel)
        told = {"loglevel": level, "logfile": logfile, "format": format or self.format, "colorize": bool(colorize)}
        if signals.setup_logging.send(sender=None, **told):
            return True
        handler: logging.Handler = (
            logging.FileHandler(logfile, encoding="utf-8") if logfile else logging.StreamHandler(sys.__stderr__)
        )
        handler.setFormatter(logging.Formatter(str(told["format"])))
        self._give(handler, level, told)
        return False

    def _give(self, handler: logging.Handler, level: int, told: dict[str, Any]) -> None:
        """Attach a handler where Celery's worker does: to the root logger, or to its own if the root's are kept; and,
        with the task format, to ``celery.task``."""
        root = logging.getLogger()
        if self.app.conf.worker_hijack_root_logger:
            for old in list(root.handlers):
                root.removeHandler(old)
            target = root
        else:
            target = base_logger
        target.addHandler(handler)
        target.setLevel(level)
        signals.after_setup_logger.send(sender=None, **{**told, "logger": target})
        _give_tasks(handler, self.task_format or DEFAULT_TASK_LOG_FMT, level, told)

    def get_default_logger(self, name: str = "celery", **_kwargs: Any) -> logging.Logger:
        """A logger by name."""
        return logging.getLogger(name)

    def setup_task_loggers(self, *_args: Any, **_kwargs: Any) -> logging.Logger:
        """The logger of tasks."""
        return task_logger

    def redirect_stdouts(self, *_args: Any, **_kwargs: Any) -> None:
        """What is printed goes where it was printed to."""

    redirect_stdouts_to_logger = redirect_stdouts

    def supports_color(self, colorize: bool | None = None, logfile: str | None = None) -> bool:
        """Whether to colour."""
        return bool(colorize) if colorize is not None else logfile is None and sys.stderr.isatty()
