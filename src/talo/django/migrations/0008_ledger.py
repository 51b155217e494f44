"""What waits on a broker beside the database is noted in it; for ``django://``."""

from django.db import migrations

from talo.django.schema import StoreTables


class Migration(migrations.Migration):
    """What the SQL store's own migration makes."""

    dependencies = [("talo_django", "0007_delayed_tasks")]
    operations = [StoreTables(after=7, upto=8)]
