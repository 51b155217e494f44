"""Task events: what happens to tasks here, told in Celery's form.

Owns the fields of each event, taken from Talo's own signals. Connected only while events are on: then each costs the
task an entry in a list, otherwise nothing. Used by each child, and by the agent for tasks whose process died."""

from __future__ import annotations

from typing import Any

from talo import signals
from talo.events.teller import Teller
from talo.wire.repr import saferepr

__all__ = ["TaskEvents"]


class TaskEvents:
    """Tells of the tasks of this process, while it is switched on."""

    def __init__(self, app: Any, hostname: str) -> None:
        self._levels: int = app.env.repr_levels
        self._on = False
        self.teller = app.events.teller = Teller(app, hostname)
        self._receivers = (
            (signals.task_received, self._received),
            (signals.task_prerun, self._started),
            (signals.task_success, self._succeeded),
            (signals.task_failure, self._failed),
            (signals.task_retry, self._retried),
            (signals.task_revoked, self._revoked),
            (signals.task_postrun, self._ended),
        )

    def switch(self, on: bool) -> None:
        """Tell from now on, or no more."""
        if on is self._on:
            return
        self._on = on
        for signal, receiver in self._receivers:
            if on:
                signal.connect(receiver, weak=False)
            else:
                signal.disconnect(receiver)

    def stop(self) -> None:
        """Tell what waits, and end."""
        self.switch(False)
        self.teller.stop()

    def _tell(self, task: Any, request: Any, type: str, **fields: Any) -> None:
        if getattr(task, "send_events", True) and not request.called_directly and not request.is_eager:
            self.teller.tell(type, {"uuid": request.id, **fields})

    def _received(self, sender: Any, request: Any, **_: Any) -> None:
        self._tell(
            sender,
            request,
            "task-received",
            name=request.shadow or request.task,
            args=request.argsrepr or saferepr(request.args, maxlevels=self._levels),
            kwargs=request.kwargsrepr or saferepr(request.kwargs, maxlevels=self._levels),
            root_id=request.root_id,
            parent_id=request.parent_id,
            retries=request.retries,
            eta=request.eta,
            expires=request.expires,
        )

    def _started(self, sender: Any, **_: Any) -> None:
        self._tell(sender, sender.request, "task-started")

    def _succeeded(self, sender: Any, result: Any, runtime: float, **_: Any) -> None:
        text = saferepr(result, sender.resultrepr_maxsize, self._levels)
        self._tell(sender, sender.request, "task-succeeded", result=text, runtime=runtime)

    def _failed(self, sender: Any, task_id: str, exception: BaseException, einfo: Any, **_: Any) -> None:
        if getattr(sender, "send_events", True):
            told = {"uuid": task_id, "exception": repr(exception), "traceback": str(einfo.traceback)}
            self.teller.tell("task-failed", told)

    def _retried(self, sender: Any, request: Any, reason: Any, einfo: Any, **_: Any) -> None:
        cause = repr(getattr(reason, "exc", None) or reason)
        self._tell(sender, request, "task-retried", exception=cause, traceback=str(einfo.traceback))

    def _revoked(self, sender: Any, request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
        self._tell(sender, request, "task-revoked", terminated=terminated, signum=signum, expired=expired)

    def _ended(self, sender: Any, retval: Any, state: str, **_: Any) -> None:
        if state == "REJECTED":
            self._tell(sender, sender.request, "task-rejected", requeue=bool(getattr(retval, "requeue", False)))
