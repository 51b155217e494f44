"""Talo: a distributed task queue that loses nothing.

Exports what applications use; everything else is reached through its own module. Importing this must stay cheap: no
client library, no command line.
"""

from talo import errors, signals, states
from talo.app.app import Talo
from talo.app.current import current_app, current_task
from talo.app.result import AsyncResult
from talo.app.shared import shared_task
from talo.app.task import Task
from talo.canvas.primitives import chain, chord, chunks, group, xmap, xstarmap
from talo.canvas.signature import Signature, maybe_signature, signature, subtask
from talo.types import Secret
from talo.wire import new_id as uuid
from talo.wire.queues import Exchange, Queue

#: What code written for Celery calls the app.
Celery = Talo

__version__ = "0.1.0"

__all__ = [
    "AsyncResult",
    "Celery",
    "Exchange",
    "Queue",
    "Secret",
    "Signature",
    "Talo",
    "Task",
    "__version__",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "errors",
    "group",
    "maybe_signature",
    "shared_task",
    "signals",
    "signature",
    "states",
    "subtask",
    "uuid",
    "xmap",
    "xstarmap",
]
