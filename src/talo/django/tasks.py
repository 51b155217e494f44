"""The backend for Django's Tasks framework, under the name that ``TASKS`` gives: ``talo.django.tasks.TaloBackend``.

Owns the name only, and that importing it never fails: workers import the ``tasks`` of every installed app, this one
included, whether or not the framework is there. The backend is ``backend``'s.
"""

from __future__ import annotations

import importlib.util

from talo.errors import MissingExtra

__all__ = ["TaloBackend"]

if importlib.util.find_spec("django.tasks") or importlib.util.find_spec("django_tasks"):
    from talo.django.backend import TaloBackend
else:

    class TaloBackend:  # type: ignore[no-redef]
        """Says what is missing."""

        def __init__(self, alias: str, params: object) -> None:
            del alias, params
            raise MissingExtra("django-tasks", "django")
