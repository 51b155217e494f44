"""What a new process of the worker is given, what it does first, and how it ends.

Owns what is the same for agent and children, and for forked and spawned ones. What a spawned process is, its entrance
says: ``worker.spawned_agent``, ``worker.spawned_child``."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from talo.util.names import import_path
from talo.worker.logs import name_process, set_up_logging
from talo.worker.options import WorkerOptions
from talo.worker.share import Common, CommonHandles, Handles

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Birth", "begin", "live"]

log = logging.getLogger("talo.worker")


class Birth(msgspec.Struct, kw_only=True):
    """Everything a spawned process needs to know."""

    options: WorkerOptions
    #: What to call before the app is imported.
    prepare: list[str]
    #: ``module:attribute``.
    app: str
    #: What else to import, when the app has imported all that it knows of.
    modules: list[str]
    path: list[str]
    settings: dict[str, Any]
    level: int
    common: CommonHandles
    #: By share number.
    shares: list[Handles]
    #: The share that it serves; None for the agent.
    serves: int | None
    line: tuple[int, int] | None


def begin(descriptor: int) -> tuple[Talo, Birth, Common]:
    """Read the birth, a file that is open there, import the app and open what all processes share."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        # The group's signals are the supervisor's from the first moment on.
        signal.signal(number, signal.SIG_IGN)
    with open(descriptor, "rb") as file:
        birth = msgspec.json.decode(file.read(), type=Birth)
    sys.path[:] = birth.path
    for path in birth.prepare:
        import_path(path)()
    app = import_path(birth.app)
    app.conf.update(birth.settings)
    app.import_default_modules()
    for name in birth.modules:
        importlib.import_module(name)
    app.finalize()
    app.env.hostname = birth.options.hostname
    name_process("agent" if birth.serves is None else f"child-{birth.serves}")
    set_up_logging(app, birth.level, birth.options.logfile)
    return app, birth, Common(birth.common)


def live(main: Callable[[], int]) -> NoReturn:
    """Run ``main`` and end this process with the exit code that it returns: at once, whatever threads the app has left
    behind, and without what was registered to be done at the end of the process that it is a copy of."""
    code = 1
    try:
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        log.critical("Unrecoverable error in process %d", os.getpid(), exc_info=True)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
