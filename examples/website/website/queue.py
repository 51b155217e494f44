"""The site's task queue. ``talo -A website worker`` runs it.

It says nothing about a broker: without one Talo keeps its tasks in ``talo.sqlite3`` in the working directory. To move
to Redis put ``TALO_BROKER_URL = "redis://..."`` into the settings; nothing else changes.
"""

import os

import django

from talo import Talo, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")


@signals.import_modules.connect
def set_up_django(**_: object) -> None:
    """A worker needs Django's models before it loads the tasks; in the site they are there already."""
    django.setup()


app = Talo("website")
app.config_from_object("django.conf:settings", namespace="TALO")
app.autodiscover_tasks(["office"])
