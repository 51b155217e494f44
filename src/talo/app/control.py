"""``app.control``: commands to workers, Talo's and Celery's alike.

Owns the names and arguments of the commands as a client calls them, and what is durable about them: a revocation, a
pause. Asking is ``app.mailbox``'s, questions ``app.inspecting``'s, the workers' side ``control`` and ``worker.panel``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from talo.app._call import times_of
from talo.app.inspecting import Inspect
from talo.app.mailbox import Mailbox
from talo.app.revocations import Revocations
from talo.errors import NotSupported
from talo.stores.parking import home_of
from talo.wire._times import epoch_of, iso

__all__ = ["Control", "Inspect"]

#: Every command takes, beside its own arguments, those of ``Control.broadcast``.
Replies = list[dict[str, Any]] | None


class Control:
    """The commands of one app."""

    Mailbox = Mailbox

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self.mailbox = self.Mailbox(app)
        self._revocations = Revocations(app)

    @property
    def inspect(self) -> type[Inspect]:
        """The questions: ``app.control.inspect(destination=[...], timeout=1).active()``."""
        return self.app.subclass_with_self(Inspect, reverse="control.inspect")  # type: ignore[no-any-return]

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: str | Sequence[str] | None = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = 1.0,
        limit: int | None = None,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> Replies:
        """Send a command to the workers named by ``destination``, or whose names fit ``pattern`` (``matcher``: ``glob``
        or ``pcre``), or all.

        With ``reply`` return their answers, ``[{node: answer}, ...]``, as they come within ``timeout`` seconds, at most
        ``limit``; a worker that gets the command later does not carry it out. ``OperationalError`` when the broker is
        away.
        """
        del connection, channel
        arguments = {**(arguments or {}), **extra_kwargs}
        nodes = [destination] if isinstance(destination, str) else destination
        if not reply:
            self.mailbox.cast(command, arguments, destination=nodes, pattern=pattern, matcher=matcher)
            return None
        return self.mailbox.ask(
            command,
            arguments,
            destination=nodes,
            pattern=pattern,
            matcher=matcher,
            timeout=timeout,
            limit=limit,
            callback=callback,
        )

    # -- tasks

    def revoke(
        self,
        task_id: str | Iterable[str],
        destination: str | Sequence[str] | None = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **kwargs: Any,
    ) -> Replies:
        """Keep tasks from starting, with ``terminate`` stop those that run. It holds for a week, for workers that
        are down too where the store keeps shared state."""
        ids = [task_id] if isinstance(task_id, str) else [str(each) for each in task_id]
        kept = self._revocations.keep(ids, terminate=terminate, within=kwargs.get("timeout"))
        named = {"task_id": task_id if isinstance(task_id, str) else ids, "terminate": terminate, "signal": signal}
        return self._tell_too("revoke", kept, destination, named, kwargs)

    def keep_revoked(
        self, ids: Iterable[str] = (), *, stamps: Mapping[str, Any] | None = None, terminate: bool = False
    ) -> bool:
        """Remember what is revoked without a command to workers, and without waiting until they have heard; False where
        no store keeps it."""
        kept = self._revocations.keep(ids, terminate=terminate, within=0.0)
        return (self._revocations.keep_stamps(stamps, within=0.0) if stamps else True) and kept

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        destination: str | Sequence[str] | None = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **kwargs: Any,
    ) -> Replies:
        """The same of all tasks that carry one of these stamps."""
        kept = self._revocations.keep_stamps(headers)
        named = {"headers": dict(headers), "terminate": terminate, "signal": signal}
        return self._tell_too("revoke_by_stamped_headers", kept, destination, named, kwargs)

    def _tell_too(
        self, command: str, kept: bool, destination: Any, arguments: dict[str, Any], kwargs: dict[str, Any]
    ) -> Replies:
        """Tell Celery's workers, and where nothing was ``kept`` Talo's, what is revoked."""
        try:
            return self.broadcast(command, destination=destination, arguments=arguments, **kwargs)
        except NotSupported:
            if not kept:
                raise
            return None

    def terminate(
        self,
        task_id: str | Iterable[str],
        destination: str | Sequence[str] | None = None,
        signal: str | int = "SIGTERM",
        **kwargs: Any,
    ) -> Replies:
        """Revoke, and stop what runs."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def reschedule(
        self,
        task_id: str | Iterable[str],
        countdown: float | dt.timedelta | None = None,
        eta: dt.datetime | str | float | None = None,
    ) -> list[str]:
        """Give waiting tasks another time, earlier or later, as ``apply_async`` takes it: ``countdown=0`` is now.
        Return the ids of those that were waiting; one that runs, has ended or is unknown is left alone.

        Nothing else about a task changes, its ``expires`` included. ``NotSupported`` where tasks cannot be reached
        while they wait.
        """
        ids = [task_id] if isinstance(task_id, str) else [str(each) for each in task_id]
        if (countdown is None) == (eta is None):
            raise TypeError("reschedule takes countdown or eta, one of them")
        zone = self.app.timezone
        due, _ = times_of("reschedule", {"countdown": countdown, "eta": eta}, self.app.time(), zone)
        assert due is not None
        moment = epoch_of(due, zone)
        iso(moment)  # a time that cannot be written is refused before anything is looked for
        moved = self.app.entry.reschedule(ids, moment)
        return [each for each in ids if each in moved]

    def rate_limit(
        self, task_name: str, rate_limit: str | float, destination: str | Sequence[str] | None = None, **kwargs: Any
    ) -> Replies:
        """Run tasks of this name no faster than ``10/s``, ``100/m`` or ``5/h`` on each worker; 0 lifts the limit."""
        named = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", destination=destination, arguments=named, **kwargs)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies:
        """Set the time limits, in seconds, of runs of this task that begin from now on."""
        named = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", destination=destination, arguments=named, **kwargs)

    # -- queues

    def purge(self, connection: Any = None) -> int:
        """Delete all waiting tasks of the app's queues; return how many. There is no undo."""
        del connection
        return self.purge_queues(sorted(self.app.queues.consume_from))

    discard_all = purge

    def purge_queues(self, queues: Sequence[str]) -> int:
        """The same of these queues, with what is put aside of them because its type is paused."""
        parked = [name for name in self.parkings() if home_of(name).queue in queues]
        return int(self.app.store.broker.purge([*queues, *parked]))

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Mapping[str, Any] | None = None,
        destination: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies:
        """Have workers consume one more queue."""
        named = {
            "queue": queue,
            "exchange": exchange,
            "exchange_type": exchange_type,
            "routing_key": routing_key,
            **(options or {}),
        }
        return self.broadcast("add_consumer", destination=destination, arguments=named, **kwargs)

    def cancel_consumer(self, queue: str, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Have workers consume a queue no more."""
        return self.broadcast("cancel_consumer", destination=destination, arguments={"queue": queue}, **kwargs)

    def pause(self, *queues: str, tasks: Sequence[str] = ()) -> None:
        """Start nothing more from these queues, and no tasks of these names, on any worker until ``resume``.

        It is kept in the store and holds for workers to come. ``NotSupported`` where no store keeps shared state.
        """
        self._revocations.pause(queues, tasks)

    def resume(self, *queues: str, tasks: Sequence[str] = ()) -> None:
        """Take a pause back."""
        self._revocations.resume(queues, tasks)

    def paused(self) -> tuple[list[str], list[str]]:
        """The names of paused queues and of paused tasks."""
        return self._revocations.paused()

    def parkings(self) -> list[str]:
        """The names of the queues in which tasks of paused types may wait, until the type has been resumed and all of
        them have begun."""
        return self._revocations.parkings()

    # -- workers

    def ping(self, destination: str | Sequence[str] | None = None, timeout: float = 1.0, **kwargs: Any) -> Any:
        """Who is there: ``[{node: {"ok": "pong"}}, ...]``."""
        return self.broadcast("ping", reply=True, destination=destination, timeout=timeout, **kwargs)

    def enable_events(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Have workers tell what happens to their tasks."""
        return self.broadcast("enable_events", destination=destination, **kwargs)

    def disable_events(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Have them tell it no more."""
        return self.broadcast("disable_events", destination=destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Start ``n`` more processes."""
        return self.broadcast("pool_grow", destination=destination, arguments={"n": n}, **kwargs)

    def pool_shrink(self, n: int = 1, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Let ``n`` processes end, after their tasks."""
        return self.broadcast("pool_shrink", destination=destination, arguments={"n": n}, **kwargs)

    def pool_restart(
        self,
        modules: Sequence[str] | None = None,
        reload: bool = False,
        reloader: Any = None,
        destination: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Replies:
        """Replace every process, after its task. Needs the setting ``worker_pool_restarts``."""
        named = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", destination=destination, arguments=named, **kwargs)

    def autoscale(self, max: int, min: int, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Set between which numbers of processes an autoscaling worker moves."""
        return self.broadcast("autoscale", destination=destination, arguments={"max": max, "min": min}, **kwargs)

    def shutdown(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Stop workers as TERM does."""
        return self.broadcast("shutdown", arguments={}, destination=destination, **kwargs)

    def heartbeat(self, destination: str | Sequence[str] | None = None, **kwargs: Any) -> Replies:
        """Have workers send a heartbeat at once."""
        return self.broadcast("heartbeat", arguments={}, destination=destination, **kwargs)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None, **kwargs: Any) -> Replies:
        """Have Celery's workers elect one of them; Talo's refuse."""
        del connection
        return self.broadcast("election", arguments={"id": id, "topic": topic, "action": action}, **kwargs)
