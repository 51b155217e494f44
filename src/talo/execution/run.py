"""One run of one task, from decoded call to outcome.

``Run`` is the object that the steps work on; ``begin`` and ``finish`` are the two halves of every run, with the call
of the user's function between them, so that a sync call, a coroutine and an eager call share all rules. Which steps a
task needs is chosen once, in ``execution.compile``. Called by the pools (``worker.pools``) and by
``execution.eager``; what the outcome means for the message is ``execution.settle``."""

from __future__ import annotations

import enum
import time
from contextvars import Token
from typing import TYPE_CHECKING, Any, Protocol

from talo.errors import Ignore, Reject, Retry, SoftTimeLimitExceeded, Terminated, TimeLimitExceeded, WorkerLostError
from talo.execution.einfo import ExceptionInfo
from talo.execution.limits import HandedBack, Killed
from talo.execution.request import Context, Frame, enter, leave
from talo.execution.retry import planned_for
from talo.wire.protocol import Call

if TYPE_CHECKING:
    from talo.execution.compile import Plan
    from talo.stores.base import Delivery

__all__ = ["Guard", "Outcome", "Run", "call_async", "call_sync"]


class Guard(Protocol):
    """Interrupts a coroutine; see ``execution.aio``."""

    def interrupt(self, exc: BaseException) -> bool:
        """Raise ``exc`` where the coroutine waits; False when it does not wait but runs."""
        ...


class Outcome(enum.Enum):
    """How a run came out; the state that it leaves is the value."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    RETRY = "RETRY"
    IGNORED = "IGNORED"
    REJECTED = "REJECTED"
    REVOKED = "REVOKED"
    #: The worker's stop cut it short: the message goes back as if it had not been fetched. Or others tell its end.
    BACK = "BACK"


#: Every run is asked for these. To look one up through its class takes Python 3.11 as long as to call a function.
SUCCESS, FAILURE, RETRY, BACK = Outcome.SUCCESS, Outcome.FAILURE, Outcome.RETRY, Outcome.BACK


class Run:
    """One run. Filled from left to right: call and request, then outcome, then what the outcome needs."""

    __slots__ = (
        "call",
        "delivery",
        "einfo",
        "ended",
        "exc",
        "guard",
        "hard",
        "outcome",
        "plan",
        "request",
        "retval",
        "started",
        "token",
    )

    def __init__(self, plan: Plan, call: Call, request: Context, delivery: Delivery | None = None) -> None:
        self.plan = plan
        self.call = call
        self.request = request
        self.delivery = delivery
        self.retval: Any = None
        self.exc: BaseException | None = None
        self.einfo: ExceptionInfo | None = None
        self.outcome = SUCCESS
        #: What can raise an exception where a coroutine waits, while one runs.
        self.guard: Guard | None = None
        self.token: Token[Frame | None] | None = None
        #: The hard limit in seconds that holds for it, for the exception that tells of it.
        self.hard: float | None = None
        self.started = 0.0
        self.ended = 0.0

    @property
    def runtime(self) -> float:
        """Seconds between start and end of the user's function."""
        return self.ended - self.started

    def begin(self) -> None:
        """Enter the request and take the steps before the call."""
        self.token = enter(self.plan.task, self.request)
        self.started = time.monotonic()
        for step in self.plan.before:
            step(self)

    def succeed(self, retval: Any) -> None:
        """The function returned. Take the steps of a success."""
        self.ended = time.monotonic()
        self.retval = retval
        if "pending_retry" in self.request.__dict__:
            # The task asked for a retry with throw=False and went on to its end: the retry counts.
            self._retried(self.request.__dict__["pending_retry"])
            return
        self.outcome = SUCCESS
        for step in self.plan.on_success:
            step(self)

    def fail(self, exc: BaseException, *, skip: int = 1) -> None:
        """The function raised. Decide the outcome and take its steps; ``skip`` frames of ours are above the user's."""
        self.ended = time.monotonic()
        self.exc = exc
        if isinstance(exc, TimeLimitExceeded) and not exc.args and self.hard:
            exc.args = (self.hard,)
        if isinstance(exc, Killed) or (isinstance(exc, HandedBack) and not self.plan.task.at_most_once):
            self.outcome = Outcome.BACK
        elif isinstance(exc, Ignore):
            self.outcome = Outcome.IGNORED
        elif isinstance(exc, Reject):
            self.outcome = Outcome.REJECTED
        elif isinstance(exc, Terminated):
            self.outcome = Outcome.REVOKED
        elif isinstance(exc, Retry):
            self._retried(exc, skip)
        else:
            if isinstance(exc, HandedBack):
                # It must not begin twice, so it has ended here.
                self.exc = exc = WorkerLostError(
                    "Cut short by the stop of its worker; at most once, so it is not run again."
                )
            retry = planned_for(self.plan.task, self.request, exc, self.plan.env.time())
            if retry is not None:
                self._retried(retry, skip)
                return
            self.outcome = Outcome.FAILURE
            self.einfo = ExceptionInfo(exc, skip=skip)
            for step in self.plan.on_failure:
                step(self)

    def disturb(self, exc: BaseException) -> None:
        """Something was raised beside the function: by a hook, then the task has failed by it; or by an interruption
        that came too early or too late for the function, then it counts only if the function did not get to its
        end."""
        if not self.ended:
            self.fail(exc, skip=0)
        elif not isinstance(exc, (HandedBack, Killed, Terminated, SoftTimeLimitExceeded, TimeLimitExceeded)):
            self.outcome, self.exc, self.einfo = Outcome.FAILURE, exc, ExceptionInfo(exc)

    def _retried(self, retry: Retry, skip: int = 1) -> None:
        self.outcome = Outcome.RETRY
        self.exc = retry
        self.einfo = ExceptionInfo(retry.exc or retry, skip=skip if retry.exc is None else 0)
        for step in self.plan.on_retry:
            step(self)

    def lose(self, exc: BaseException) -> None:
        """The process died while the function ran, and this is another one: take the steps of the failure and of the
        return, with the request entered. What receivers of ``task_prerun`` had opened died with it, so they are not
        told of the end. As in a living run, a hook that raises is what the task has failed by."""
        self.token = enter(self.plan.task, self.request)
        try:
            self.fail(exc, skip=0)
            for step in self.plan.after_loss:
                step(self)
        except Exception as fault:  # noqa: BLE001  a hook of the user's raised
            self.disturb(fault)
        finally:
            leave(self.token)

    def finish(self) -> None:
        """Take the last steps and leave the request."""
        try:
            if self.outcome is not BACK:
                for step in self.plan.after:
                    step(self)
        finally:
            self.guard = None
            if self.token is not None:
                leave(self.token)


def call_sync(run: Run) -> None:
    """Run a plain function from begin to finish. Raises nothing but what the process itself must not survive, or what
    stands around the run."""
    if run.plan.around is None:
        _call(run)
    else:
        run.plan.around(run, _call)


def _call(run: Run) -> None:
    plan = run.plan
    try:
        try:
            run.begin()
            retval = plan.function(*run.call.args, **run.call.kwargs)
        except BaseException as exc:  # noqa: BLE001  whatever a task raises is the task's outcome
            run.fail(exc, skip=plan.frames)
        else:
            run.succeed(retval)
    except BaseException as exc:  # noqa: BLE001  a hook of the user's raised, or an interruption came late
        run.disturb(exc)
    finally:
        run.finish()


async def call_async(run: Run) -> None:
    """The same for a coroutine function, inside the task of the event loop that carries it."""
    plan = run.plan
    try:
        try:
            run.begin()
            retval = await plan.function(*run.call.args, **run.call.kwargs)
        except BaseException as exc:  # noqa: BLE001  as above
            run.fail(exc, skip=plan.frames)
        else:
            run.succeed(retval)
    except BaseException as exc:  # noqa: BLE001  as above
        run.disturb(exc)
    finally:
        run.finish()
