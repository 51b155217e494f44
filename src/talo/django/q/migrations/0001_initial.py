"""The tables of schedules and of what became of tasks."""

from typing import ClassVar

import django.utils.timezone
from django.db import migrations, models

import talo.django.q.times


class Migration(migrations.Migration):
    """Needs nothing of the project's."""

    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(blank=True, max_length=100, null=True, verbose_name="name")),
                (
                    "func",
                    models.CharField(help_text="e.g. module.tasks.function", max_length=256, verbose_name="function"),
                ),
                (
                    "hook",
                    models.CharField(
                        blank=True,
                        help_text="e.g. module.tasks.function",
                        max_length=256,
                        null=True,
                        verbose_name="hook",
                    ),
                ),
                (
                    "args",
                    models.TextField(blank=True, help_text="e.g. 1, 2, 'John'", null=True, verbose_name="arguments"),
                ),
                (
                    "kwargs",
                    models.TextField(
                        blank=True, help_text="e.g. x=1, y=2, name='John'", null=True, verbose_name="keyword arguments"
                    ),
                ),
                (
                    "schedule_type",
                    models.CharField(
                        choices=[
                            ("O", "Once"),
                            ("I", "Minutes"),
                            ("H", "Hourly"),
                            ("D", "Daily"),
                            ("W", "Weekly"),
                            ("BW", "Biweekly"),
                            ("M", "Monthly"),
                            ("BM", "Bimonthly"),
                            ("Q", "Quarterly"),
                            ("Y", "Yearly"),
                            ("C", "Cron"),
                        ],
                        default="O",
                        max_length=2,
                        verbose_name="type",
                    ),
                ),
                (
                    "minutes",
                    models.PositiveSmallIntegerField(
                        blank=True,
                        help_text="Number of minutes for the Minutes type",
                        null=True,
                        verbose_name="minutes",
                    ),
                ),
                (
                    "repeats",
                    models.IntegerField(
                        default=-1, help_text="n = n times, -1 = forever, 0 = never", verbose_name="repeats"
                    ),
                ),
                (
                    "next_run",
                    models.DateTimeField(
                        db_index=True, default=django.utils.timezone.now, null=True, verbose_name="next run"
                    ),
                ),
                (
                    "cron",
                    models.CharField(
                        blank=True,
                        help_text="Cron expression",
                        max_length=100,
                        null=True,
                        validators=[talo.django.q.times.valid_cron],
                        verbose_name="cron",
                    ),
                ),
                ("task", models.CharField(editable=False, max_length=100, null=True)),
                (
                    "cluster",
                    models.CharField(blank=True, default=None, max_length=100, null=True, verbose_name="cluster"),
                ),
                (
                    "intended_date_kwarg",
                    models.CharField(
                        blank=True, max_length=100, null=True, verbose_name="name of the intended date argument"
                    ),
                ),
            ],
            options={
                "verbose_name": "schedule",
                "verbose_name_plural": "schedules",
                "db_table": "talo_django_q_schedule",
                "ordering": ("next_run",),
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False, verbose_name="id")),
                ("name", models.CharField(db_index=True, max_length=200, verbose_name="name")),
                ("func", models.CharField(max_length=256, verbose_name="function")),
                ("hook", models.CharField(blank=True, max_length=256, null=True, verbose_name="hook")),
                ("packed_args", models.TextField(default="[]")),
                ("packed_kwargs", models.TextField(default="{}")),
                ("packed_result", models.TextField(default="null")),
                ("group", models.CharField(blank=True, db_index=True, max_length=100, null=True, verbose_name="group")),
                ("cluster", models.CharField(blank=True, max_length=100, null=True, verbose_name="cluster")),
                ("started", models.DateTimeField(verbose_name="started")),
                ("stopped", models.DateTimeField(db_index=True, verbose_name="stopped")),
                ("success", models.BooleanField(db_index=True, default=True, verbose_name="success")),
                ("attempt_count", models.IntegerField(default=0, verbose_name="attempts")),
            ],
            options={
                "verbose_name": "task",
                "verbose_name_plural": "tasks",
                "db_table": "talo_django_q_task",
                "ordering": ("-stopped",),
            },
        ),
        migrations.CreateModel(
            name="Failure",
            fields=[],
            options={
                "verbose_name": "failed task",
                "verbose_name_plural": "failed tasks",
                "ordering": ("-stopped",),
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("talo_django_q.task",),
        ),
        migrations.CreateModel(
            name="Success",
            fields=[],
            options={
                "verbose_name": "successful task",
                "verbose_name_plural": "successful tasks",
                "ordering": ("-stopped",),
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("talo_django_q.task",),
        ),
    ]
