"""A page for the project's tasks, and permissions for what the pages can do now. There are no tables."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Changes no database."""

    dependencies = [("talo_django", "0003_admin_pages")]
    operations = [
        migrations.CreateModel(
            name="TaskType",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"))
            ],
            options={
                "verbose_name": "task",
                "verbose_name_plural": "tasks",
                "managed": False,
                "default_permissions": ("view", "change"),
            },
        ),
        migrations.AlterModelOptions(
            name="periodictask",
            options={
                "verbose_name": "periodic task",
                "verbose_name_plural": "periodic tasks",
                "managed": False,
                "default_permissions": ("view", "add", "change", "delete"),
            },
        ),
        migrations.AlterModelOptions(
            name="workerpage",
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "managed": False,
                "default_permissions": ("view", "change", "delete"),
            },
        ),
    ]
