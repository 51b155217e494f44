"""The table of the outbox."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Additive; needs nothing of the project's."""

    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("app", models.CharField(max_length=255)),
                ("task_id", models.CharField(max_length=255)),
                ("task", models.CharField(max_length=255)),
                ("body", models.BinaryField()),
                ("claimed_until", models.FloatField(db_index=True)),
                ("claim", models.CharField(db_index=True, max_length=32)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"db_table": "talo_django_outbox", "verbose_name": "outbox message"},
        ),
    ]
