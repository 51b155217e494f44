"""The indexes of the history, as pages ask it; for ``django://``."""

from django.db import migrations

from talo.django.schema import StoreTables


class Migration(migrations.Migration):
    """What the SQL store's own migration makes."""

    dependencies = [("talo_django", "0004_admin_actions")]
    operations = [StoreTables(after=4, upto=5)]
