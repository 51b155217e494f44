"""Delayed messages are found by their task; for ``django://``."""

from django.db import migrations

from talo.django.schema import StoreTables


class Migration(migrations.Migration):
    """What the SQL store's own migration makes."""

    dependencies = [("talo_django", "0006_counters")]
    operations = [StoreTables(after=6, upto=7)]
