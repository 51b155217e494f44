"""The project's app under a name by which it can be imported: ``talo.django.worker_app:app``.

Owns nothing; importing it sets Django up. Used by ``manage.py talo``, by ``talo`` without ``-A``, and by spawned
processes.
"""

from __future__ import annotations

import django
from django.apps import apps

from talo.app.app import Talo

__all__ = ["app"]

if not apps.ready:
    django.setup()
#: The app of the project in which ``talo.django`` is installed.
app: Talo = apps.get_app_config("talo_django").app
