"""The site's task queue. ``talo -A website worker`` runs it.

It says nothing about a broker: without one Talo keeps its tasks in ``talo.sqlite3`` in the working directory. To move
to Redis put ``TALO_BROKER_URL = "redis://..."`` into the settings; nothing else changes.
"""

import os

from talo import Talo

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")

app = Talo("website")
app.config_from_object("django.conf:settings", namespace="TALO")
app.autodiscover_tasks()
