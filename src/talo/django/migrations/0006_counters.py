"""Counters with their histograms in one row; for ``django://``."""

from django.db import migrations

from talo.django.schema import StoreTables


class Migration(migrations.Migration):
    """What the SQL store's own migration makes."""

    dependencies = [("talo_django", "0005_history_indexes")]
    operations = [StoreTables(after=5, upto=6)]
