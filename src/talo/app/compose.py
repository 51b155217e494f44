"""What a task can do with workflows: be replaced by one, add members to its chord, be mapped over many arguments.

Owns the methods; what they mean for the run's end stands in ``canvas.advance.Ending`` and takes effect with its
settlement. Mixed into ``Task``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from talo.canvas.advance import Ending, Sending
from talo.canvas.algebra import is_composed
from talo.canvas.plan import ONCE, PART, STEP, once
from talo.canvas.primitives import chord, chunks, xmap, xstarmap
from talo.canvas.signature import Signature, maybe_signature
from talo.errors import Ignore, ImproperlyConfigured
from talo.execution.request import Context

__all__ = ["Composing"]

#: Members that were added to a group come after all others, in the order of those that added them.
_ADDED = 1 << 30
_PER_MEMBER = 1 << 10


class Composing:
    """Workflows from inside and around one task."""

    if TYPE_CHECKING:
        name: str

        @property
        def app(self) -> Any: ...
        @property
        def request(self) -> Context: ...

        def s(self, *args: Any, **kwargs: Any) -> Signature: ...
        def update_state(
            self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
        ) -> None: ...

    # -- many

    def map(self, it: Iterable[Any]) -> Signature:
        """One task that calls this one with each item."""
        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> Signature:
        """One task that calls this one with each item as its arguments."""
        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Any], n: int) -> Signature:
        """Many calls of this task, ``n`` of them in a message."""
        return chunks(self.s(), it, n, app=self.app)

    # -- from inside a run

    def progress(self, done: float, total: float, **facts: Any) -> None:
        """Tell how far the run has come: state PROGRESS with ``current``, ``total`` and what else is given."""
        self.update_state(state="PROGRESS", meta={"current": done, "total": total, **facts})

    def replace(self, sig: Any) -> Any:
        """End this run and let ``sig`` go on in its place: under its id, with its callbacks and its place in a
        workflow. Raises ``Ignore``."""
        sig = maybe_signature(sig, self.app, clone=True)
        if not isinstance(sig, Signature):
            raise TypeError(f"a task is replaced by a signature, not by {sig!r}")
        if sig["subtask_type"] == "group":
            sig = chord(sig, self.app.tasks["celery.accumulate"].s(index=0), app=self.app)
        if sig["subtask_type"] == "chord" and sig["kwargs"]["body"] is None:
            raise ImproperlyConfigured("a chord without a body cannot replace a task")
        return self.on_replace(sig)

    def on_replace(self, sig: Signature) -> Any:
        """Called when ``sig`` replaces this run: sends it with the run's end."""
        request = self.request
        options: dict[str, Any] = {
            "link": request.callbacks,
            "link_error": request.errbacks,
            "chord": request.chord,
            "root_id": request.root_id,
            "replaced_task_nesting": request.replaced_task_nesting + 1,
            "reply_to": request.reply_to,
        }
        if request.stamped_headers:
            options |= {"stamped_headers": request.stamped_headers, **(request.stamps or {})}
        options = {key: value for key, value in options.items() if value is not None}
        headers = {**(request.headers or {}), **request.standing}
        ending = _ending_of(request)
        ending.continues = True
        lineage = {"parent_id": request.id, "root_id": request.root_id, **({"headers": headers} if headers else {})}
        if is_composed(sig):
            kwargs = {"signature": sig, "steps": request.chain or [], "task_id": request.id}
            kwargs["options"] = {k: v for k, v in options.items() if k in ("link", "link_error")}
            if request.chord is not None and not request.chain:
                kwargs["chord"] = request.chord
            lineage["headers"] = {**headers, ONCE: once()}
            ending.sends.append(Sending(STEP, [], kwargs, lineage))
        else:
            own = dict(sig.options)
            for key in ("link", "link_error"):
                if own.get(key) and options.get(key):
                    options[key] = [*own[key], *(c for c in options[key] if c not in own[key])]
            own |= options | lineage
            own["task_id"] = request.id
            own |= {"chain": request.chain, "group_id": request.group, "group_index": request.group_index}
            ending.sends.append(Sending(sig["task"], list(sig.args or ()), dict(sig.kwargs or {}), own))
        raise Ignore("Replaced by new task")

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add a member to the chord that this run belongs to; it is sent with the run's end.

        Returns its result handle; with ``lazy`` the signature, which is not sent. ``ValueError`` outside of a chord.
        """
        request = self.request
        place = (request.message_headers or {}).get(PART)
        if place is None:
            raise ValueError("Current task is not member of any chord")
        ending = _ending_of(request)
        sig = maybe_signature(sig, self.app, clone=True)
        index = _ADDED + place[1] * _PER_MEMBER + ending.grows
        result = sig.freeze(group_id=place[0], root_id=request.root_id, parent_id=request.id, group_index=index)
        sig.options["headers"] = {**(sig.options.get("headers") or {}), PART: [place[0], index]}
        ending.grows += 1
        if lazy:
            return sig
        ending.sends.append(Sending(sig["task"], list(sig.args or ()), dict(sig.kwargs or {}), dict(sig.options)))
        return result


def _ending_of(request: Context) -> Ending:
    ending: Ending | None = request.ending
    if ending is None:
        ending = request.ending = Ending()
    return ending
