"""The names of the admin's pages, for their permissions. There are no tables."""

from typing import Any

from django.db import migrations, models


def _page(name: str, singular: str, plural: str, *permissions: str) -> migrations.CreateModel:
    key = models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")
    options: dict[str, Any] = {
        "verbose_name": singular,
        "verbose_name_plural": plural,
        "managed": False,
        "default_permissions": permissions,
    }
    return migrations.CreateModel(name=name, fields=[("id", key)], options=options)


class Migration(migrations.Migration):
    """Changes no database."""

    dependencies = [("talo_django", "0002_store")]
    operations = [
        _page("DeadLetter", "dead letter", "dead letters", "view", "change", "delete"),
        _page("PeriodicTask", "periodic task", "periodic tasks", "view", "change", "delete"),
        _page("QueuePage", "queue", "queues", "view", "change", "delete"),
        _page("RunPage", "run", "runs", "view"),
        _page("WaitingTask", "waiting or running task", "waiting and running tasks", "view", "change"),
        _page("WorkerPage", "worker", "workers", "view"),
    ]
