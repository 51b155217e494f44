"""Django Q's way to background tasks, over Talo: ``"talo.django.q"`` in ``INSTALLED_APPS`` instead of ``"django_q"``.

``talo.django.q`` and ``talo.django.q.tasks`` have the functions, ``talo.django.q.models`` the models ``Schedule``,
``Task``, ``Success`` and ``Failure``, ``Q_CLUSTER`` in Django's settings is read by ``conf``. ``manage.py qcluster`` is
a worker. See ``docs/howto/django-q.md``.
"""

from __future__ import annotations

from talo.django.q.calls import AsyncTask, Chain, Iter
from talo.django.q.tasks import (
    async_chain,
    async_iter,
    async_task,
    count_group,
    delete_cached,
    delete_group,
    fetch,
    fetch_group,
    result,
    result_group,
    schedule,
)

__all__ = [
    "AsyncTask",
    "Chain",
    "Iter",
    "async_chain",
    "async_iter",
    "async_task",
    "count_group",
    "delete_cached",
    "delete_group",
    "fetch",
    "fetch_group",
    "result",
    "result_group",
    "schedule",
]
