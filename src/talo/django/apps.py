"""Talo as one of a project's Django apps.

Owns what happens when Django is ready: the project's app is found or made, adopted, and given the relay of the outbox;
system checks are registered. Called by Django.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.signals import setting_changed

from talo.app import current
from talo.app.app import Talo
from talo.django import conf, project
from talo.django.adoption import adopt

__all__ = ["TaloConfig"]


class TaloConfig(AppConfig):
    """The Django app ``talo_django``. ``app`` is the project's Talo app."""

    name = "talo.django"
    label = "talo_django"
    verbose_name = "Talo"
    default_auto_field = "django.db.models.BigAutoField"
    app: Talo

    def ready(self) -> None:
        from talo.django import checks

        self.app = project.find_or_make()
        for app in current.apps():
            adopt(app)
        checks.register()
        setting_changed.connect(self._changed, dispatch_uid="talo.django")

    def _changed(self, *, setting: str, **_more: Any) -> None:
        """A test overrides a setting of Django's: read Talo's anew, unless a worker has frozen them."""
        if conf.concerns_talo(setting) and not self.app.conf.frozen:
            self.app.conf.reload()
