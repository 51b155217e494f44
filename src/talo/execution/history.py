"""What a run leaves in counters and history.

Owns which facts a record carries, which runs are kept and for how long, and the fingerprint of a failure. Storing and
searching is the stores' (``stores.history``). Called by ``execution.settle`` and by the undertaker, where settlements
are made."""

from __future__ import annotations

import hashlib
import math
import sysconfig
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from talo import states
from talo.canvas.advance import CHORD, FAIL
from talo.canvas.celery_form import CELERY_CHORD
from talo.canvas.plan import STEP
from talo.execution.request import Context
from talo.execution.run import SUCCESS, Run
from talo.stores.base import Delivery, Settlement, Verdict
from talo.stores.history import RunRecord
from talo.util.text import storable
from talo.wire.repr import saferepr
from talo.wire.sent import SENT, ready_since, sent_at

if TYPE_CHECKING:
    from talo.execution.env import Env

__all__ = [
    "INTERNAL",
    "LOST",
    "Keeper",
    "error_of",
    "fingerprint_of",
    "record_of_lost",
    "record_of_request",
    "record_of_run",
]

#: Characters that a record keeps at most of a name or id, of an error, of arguments, and of a traceback (its end: there
#: it happened).
_NAME, _ERROR, _ARGUMENTS, _TRACEBACK = 300, 1000, 1024, 10_000
#: Frames of the user's own code that make a fingerprint, from the innermost.
_FRAMES = 3
#: Talo's own tasks, which no route of the user's concerns, and no cancelling of a workflow: what they go on with ends
#: as revoked in its turn, so that each of its results says so.
INTERNAL = frozenset({CHORD, FAIL, STEP, CELERY_CHORD, "talo.errback"})
_STRANGERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
#: The state of an attempt whose process died.
LOST = "LOST"
_OURS = __name__.partition(".")[0] + "."
_AGAIN = Verdict.AGAIN


class Keeper:
    """Which runs are kept, beyond being counted. One per process, so ``success_rate`` holds for each process.

    ``mode``: ``all``; ``sampled`` (of successes up to ``success_rate`` a second, of the rest all);
    ``failures`` (no successes). ``expires`` and ``failure_expires`` are seconds.
    """

    __slots__ = ("_expires", "_failure_expires", "_pause", "free_at")

    def __init__(self, mode: str, success_rate: float, expires: float, failure_expires: float) -> None:
        self._expires = expires
        self._failure_expires = failure_expires
        if mode == "all":
            self._pause = 0.0
        else:
            self._pause = 1.0 / success_rate if success_rate > 0 and mode == "sampled" else math.inf
        #: No success that ends before (monotonic) is kept.
        self.free_at = 0.0 if self._pause < math.inf else math.inf

    def keep(self, state: str, now: float) -> float | None:
        """Return for how many seconds a run that ends now (monotonic) in this state is kept; None: not at all.

        Successes that were not kept in the last second may be made up for. Threads may race for one place: then one
        more is kept.
        """
        if state != states.SUCCESS:
            return self._failure_expires
        if now < self.free_at:
            return None
        self.free_at = max(self.free_at, now - 1.0) + self._pause
        return self._expires


def record_of_run(run: Run, delivery: Delivery, settlement: Settlement) -> RunRecord | None:
    """Return the record of a run that has come to its end; None if its message goes back as if it had not run."""
    env, call = run.plan.env, run.call
    keeper = env.history
    if keeper is None or settlement.verdict is _AGAIN or call.task in INTERNAL or run.request.is_eager:
        return None
    now = env.time()
    state = states.SUCCESS if run.outcome is SUCCESS else run.outcome.value
    seconds = waited = None
    # A run that is told by others (its process is dead) never began here.
    if run.started:
        seconds = run.ended - run.started
        since = call.headers.get(SENT)
        if type(since) is not float:
            since = sent_at(call.headers)
        if call.eta is not None and (since is None or call.eta > since):
            since = call.eta
        if since is not None:
            waited = now - seconds - since
            if waited < 0.0:
                waited = 0.0
    # Most successes end here, told by one comparison.
    keep = None if state is states.SUCCESS and run.ended < keeper.free_at else keeper.keep(state, run.ended)
    record = RunRecord(
        name=call.task, queue=delivery.queue, state=state, ended=now, seconds=seconds, waited=waited, keep=keep
    )
    if keep is not None:
        _describe(record, env, run.request, settlement)
        if state != states.SUCCESS and run.exc is not None:
            exc = getattr(run.exc, "exc", None) if state == states.RETRY else run.exc
            _blame(record, exc if isinstance(exc, BaseException) else run.exc, run)
    return record


def record_of_request(
    env: Env, request: Context, delivery: Delivery, state: str, error: str, settlement: Settlement
) -> RunRecord | None:
    """Return the record of a task that ends without having started, with the reason as its error."""
    keeper = env.history
    if keeper is None:
        return None
    now = env.time()
    name = storable(request.task, _NAME)
    record = RunRecord(
        name=name, queue=delivery.queue, state=state, ended=now, keep=keeper.keep(state, time.monotonic())
    )
    _describe(record, env, request, settlement)
    record.error = storable(error, _ERROR)
    return record


def record_of_lost(env: Env, delivery: Delivery, error: str) -> RunRecord | None:
    """Return the record of an attempt whose process died, and whose message goes back to its queue."""
    message = delivery.message
    if env.history is None or message is None or type(message.headers) is not dict:
        return None
    request = Context(message.headers)
    record = record_of_request(env, request, delivery, LOST, error, Settlement(lease=delivery.lease))
    if record is not None:
        since = ready_since(message)
        record.sent = since if record.sent is None else record.sent
        record.fingerprint = _digest("lost", record.name)
    return record


def _describe(record: RunRecord, env: Env, request: Context, settlement: Settlement) -> None:
    """Fill in what only a kept record carries."""
    # A message that makes no task may hold anything anywhere, and none of it may cost the settlement.
    headers = request.message_headers
    record.id = storable(request.id, _NAME)
    record.attempt = request.retries if type(request.retries) is int else 0
    record.worker = env.hostname
    record.sent = sent_at(headers if type(headers) is dict else request.__dict__)
    record.root = storable(request.root_id, _NAME) or None
    record.parent = storable(request.parent_id, _NAME) or None
    record.group = storable(request.group, _NAME) or None
    record.args = _shown(request.argsrepr, request.args)
    record.kwargs = _shown(request.kwargsrepr, request.kwargs)
    if settlement.death is not None:
        record.dead = settlement.death.reason


def _shown(text: str | None, value: Any) -> str:
    """What the sender shows of arguments, which may be less than they are; only senders of old show nothing."""
    if isinstance(text, str):
        return storable(text, _ARGUMENTS)
    return "" if value is None else storable(saferepr(value, _ARGUMENTS), _ARGUMENTS)


def _blame(record: RunRecord, exc: BaseException, run: Run) -> None:
    record.error = error_of(exc)
    if record.state == states.REVOKED:
        return
    tb = exc.__traceback__ if run.einfo is None or exc.__traceback__ is not None else run.einfo.tb
    record.fingerprint = fingerprint_of(exc, tb, record.name)
    if run.einfo is not None:
        record.traceback = storable(run.einfo.traceback[-_TRACEBACK:], _TRACEBACK)


def error_of(exc: BaseException) -> str:
    """Return ``Type: message``, bounded."""
    try:
        text = str(exc)
    except Exception as fault:  # noqa: BLE001  a stranger's __str__; the record must not cost the settlement
        text = f"<its text raised {type(fault).__name__}>"
    return storable(f"{type(exc).__name__}: {text}" if text else type(exc).__name__, _ERROR)


def fingerprint_of(exc: BaseException, tb: TracebackType | None, name: str) -> str:
    """Return what failures of one kind have in common: the exception's type and the innermost frames of the user's own
    code, by module and function, so that an edit elsewhere in the file changes nothing. Without frames the task's name
    takes their place."""
    own: list[str] = []
    every: list[str] = []
    while tb is not None:
        code = tb.tb_frame.f_code
        module = tb.tb_frame.f_globals.get("__name__")
        place = f"{module}:{code.co_qualname}"
        every.append(place)
        if not code.co_filename.startswith(_STRANGERS) and not f"{module}.".startswith(_OURS):
            own.append(place)
        tb = tb.tb_next
    kind = type(exc)
    return _digest(f"{kind.__module__}.{kind.__qualname__}", *((own or every)[-_FRAMES:] or [name]))


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()
