"""The tables of tasks, results, schedules and history, for ``django://``."""

from django.db import migrations

from talo.django.schema import StoreTables


class Migration(migrations.Migration):
    """What the SQL store's own migrations make."""

    dependencies = [("talo_django", "0001_outbox")]
    operations = [StoreTables(after=0, upto=4)]
