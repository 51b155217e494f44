"""Pages of Django's admin: runs, tasks that wait, periodic tasks, dead letters, queues, workers.

Owns what each page shows and what may be done there, and with which permission (``view``; ``change``; ``delete``
for what cannot be undone). What it shows comes from the project's app, whatever store it has; how a page works is
``_admin_page``'s. Imported by the admin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from talo.app.app import Talo
from talo.control.dead import DeadLetters
from talo.control.history import history_of
from talo.control.schedules import ScheduleControl
from talo.django._admin_page import Action, Page, Row, moment, seconds
from talo.django.models import DeadLetter, PeriodicTask, QueuePage, RunPage, WaitingTask, WorkerPage
from talo.schedules.text import describe, from_data
from talo.stores.history import RunQuery

__all__: list[str] = []

#: Rows of a page, and messages that are looked at in each queue.
_ROWS = 100


@admin.register(RunPage)
class RunAdmin(Page):
    """What became of tasks, latest first; the search finds an id, a task's name or a part of an error."""

    columns = (_("task"), _("id"), _("state"), _("queue"), _("worker"), _("ended"), _("seconds"), _("error"))
    search = True

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        history = history_of(app)
        wishes = [RunQuery()] if not words else [RunQuery(id=words), RunQuery(name=words), RunQuery(text=words)]
        for wish in wishes:
            if found := history.runs(wish, _ROWS).runs:
                for run in found:
                    cells = (run.name, run.id, run.state, run.queue, run.worker, moment(run.ended))
                    yield Row(run.id, (*cells, seconds(run.seconds), run.error or ""))
                return


@admin.register(WaitingTask)
class WaitingTaskAdmin(Page):
    """The next tasks of each queue, and those that workers hold."""

    columns = (_("task"), _("id"), _("queue"), _("where"), _("due"), _("arguments"))

    def actions_of(self) -> Sequence[Action]:
        return (Action("revoke", _("Revoke"), "change", self._revoke),)

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        broker = app.store.broker
        for owner in broker.owners():
            for delivery in broker.held(owner.owner) if owner.held else ():
                if delivery.message is not None:
                    yield self._row(delivery.message, owner.worker)
        if not app.store.features.peek:
            return
        for queue in broker.stats():
            for delayed, name in ((False, _("ready")), (True, _("delayed"))):
                for message in broker.peek(queue.name, _ROWS, delayed=delayed):
                    yield self._row(message, name)

    @staticmethod
    def _row(message: Any, where: Any) -> Row:
        arguments = f"{message.headers.get('argsrepr') or ''} {message.headers.get('kwargsrepr') or ''}"
        cells = (message.task, message.id, message.queue, where, moment(message.due), arguments)
        return Row(message.id or "", cells)

    @staticmethod
    def _revoke(app: Talo, ids: Sequence[str]) -> str:
        app.control.revoke(list(ids))
        return ngettext("%d task revoked", "%d tasks revoked", len(ids)) % len(ids)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(Page):
    """Schedules of the project's beat."""

    columns = (_("name"), _("task"), _("schedule"), _("enabled"), _("last run"), _("next run"), _("runs"))

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("run", _("Run now"), "change", lambda app, ids: self._each(app, ids, "run_now")),
            Action("pause", _("Pause"), "change", lambda app, ids: self._each(app, ids, "pause")),
            Action("resume", _("Resume"), "change", lambda app, ids: self._each(app, ids, "resume")),
            Action("remove", _("Remove"), "delete", lambda app, ids: self._each(app, ids, "remove")),
        )

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        for each in ScheduleControl(app).list():
            plan = each.definition.schedule
            shown = describe(from_data(plan, app)) if plan else "?"
            cells = (each.name, each.definition.task, shown, _("yes") if each.enabled else _("no"))
            yield Row(each.name, (*cells, moment(each.last_run), moment(each.next_run), each.total))

    @staticmethod
    def _each(app: Talo, names: Sequence[str], verb: str) -> str:
        schedules = ScheduleControl(app)
        for name in names:
            getattr(schedules, verb)(name)
        return ngettext("%d periodic task changed", "%d periodic tasks changed", len(names)) % len(names)


@admin.register(DeadLetter)
class DeadLetterAdmin(Page):
    """Dead letters, latest first; the search is for a task's name."""

    columns = (_("task"), _("id"), _("queue"), _("reason"), _("text"), _("died"), _("deliveries"))
    search = True

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("replay", _("Replay"), "change", self._replay),
            Action("drop", _("Delete"), "delete", self._drop),
        )

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        for letter in _letters(app).list(task=words or None, limit=_ROWS):
            death = letter.death
            cells = (death.task, death.task_id, letter.queue, death.reason, death.text, moment(letter.died))
            yield Row(letter.id, (*cells, letter.deliveries))

    @staticmethod
    def _replay(app: Talo, ids: Sequence[str]) -> str:
        found = list(_letters(app).replay(ids))
        done = sum(each.fault is None for each in found)
        faults = "; ".join(f"{each.letter}: {each.fault}" for each in found if each.fault is not None)
        text = ngettext("%d dead letter replayed", "%d dead letters replayed", done) % done
        return f"{text}; {faults}" if faults else text

    @staticmethod
    def _drop(app: Talo, ids: Sequence[str]) -> str:
        done = _letters(app).drop(ids)
        return ngettext("%d dead letter deleted", "%d dead letters deleted", done) % done


@admin.register(QueuePage)
class QueueAdmin(Page):
    """Queues with their numbers."""

    columns = (_("queue"), _("ready"), _("delayed"), _("at work"), _("waiting since (s)"), _("paused"))

    def actions_of(self) -> Sequence[Action]:
        return (
            Action("pause", _("Pause"), "change", lambda app, ids: self._steer(app, ids, "pause")),
            Action("resume", _("Resume"), "change", lambda app, ids: self._steer(app, ids, "resume")),
            Action("purge", _("Purge: delete all that waits"), "delete", self._purge),
        )

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        paused = app.control.paused()[0] if app.state_store is not None else []
        for each in app.store.broker.stats():
            shown = _("yes") if each.name in paused else _("no")
            cells = (each.name, each.ready, each.delayed, each.leased, seconds(each.oldest), shown)
            yield Row(each.name, cells)

    @staticmethod
    def _steer(app: Talo, names: Sequence[str], verb: str) -> str:
        getattr(app.control, verb)(*names)
        return ngettext("%d queue changed", "%d queues changed", len(names)) % len(names)

    @staticmethod
    def _purge(app: Talo, names: Sequence[str]) -> str:
        done = app.store.broker.purge(list(names))
        return ngettext("%d message deleted", "%d messages deleted", done) % done


@admin.register(WorkerPage)
class WorkerAdmin(Page):
    """Workers, as their leases tell of them."""

    columns = (_("worker"), _("tasks at a time"), _("tasks it holds"), _("lease ends in (s)"))

    def rows(self, app: Talo, words: str) -> Iterator[Row]:
        del words
        workers: dict[str, list[Any]] = {}
        for each in app.store.broker.owners():
            found = workers.setdefault(each.worker, [0, 0, each.remaining])
            found[0] += each.slots
            found[1] += each.held
            found[2] = min(found[2], each.remaining)
        for name, (slots, held, remaining) in sorted(workers.items()):
            yield Row(name, (name, slots, held, seconds(remaining)))


def _letters(app: Talo) -> DeadLetters:
    return DeadLetters.of(app)
