"""Rows of the table: what concerns Django only. They have no effect in a project without it."""

from __future__ import annotations

from talo.settings._kinds import BOOL, SECONDS, STRS, either
from talo.settings._option import Group, Option

__all__ = ["GROUPS"]

_DJANGO = (
    Option(
        "django_on_commit",
        either(BOOL, STRS),
        True,
        (),
        "With talo.django installed: a send inside atomic() goes out at its commit. True: of any database; or the "
        "aliases whose transactions count; False: sent at once.",
        celery_default=False,
        own=True,
    ),
    Option(
        "outbox",
        BOOL,
        False,
        (),
        "With talo.django installed: such a send is kept in the table talo_django_outbox by the transaction itself, "
        "so that it survives the death of its process between commit and publish.",
        own=True,
    ),
    Option(
        "outbox_lease",
        SECONDS,
        10.0,
        (),
        "What its sender has not published from the outbox after so many seconds a worker publishes.",
        own=True,
    ),
    Option(
        "django_result_tables",
        BOOL,
        False,
        (),
        "Results that the result store has not are looked for in the tables of django-celery-results.",
        own=True,
    ),
)

GROUPS = (Group("Django", _DJANGO),)
