"""Sends that wait for the commit of a transaction: of any database of Django's, whatever keeps the tasks."""

from __future__ import annotations

import contextlib

from django.db import transaction

from talo import chain, chord
from tests.cases import Hand, case

#: The database in which the cases open transactions.
ALIAS = "cases"


class Undone(Exception):
    """Rolls back."""


@case(eager=False, a="add, SUCCESS 3")
def a_commit_sends(t: Hand) -> None:
    with transaction.atomic(using=ALIAS):
        t("a", "add", 1, 2).delay()


@case(eager=False, a="PENDING")
def a_rollback_sends_nothing(t: Hand) -> None:
    with contextlib.suppress(Undone), transaction.atomic(using=ALIAS):
        t("a", "add", 1, 2).delay()
        raise Undone


@case(eager=False, a="add, SUCCESS 3", b="PENDING", c="add, SUCCESS 5")
def a_savepoint_takes_its_sends_along(t: Hand) -> None:
    with transaction.atomic(using=ALIAS):
        t("a", "add", 1, 2).delay()
        with contextlib.suppress(Undone), transaction.atomic(using=ALIAS):
            t("b", "add", 1, 2).delay()
            raise Undone
        t("c", "add", 2, 3).delay()


@case(eager=False, a="add, SUCCESS 3", b="add, SUCCESS 4")
def a_commit_sends_a_chain(t: Hand) -> None:
    with transaction.atomic(using=ALIAS):
        chain(t("a", "add", 1, 2), t("b", "add", 1)).delay()


@case(eager=False, a="PENDING", b="PENDING", c="PENDING")
def a_rollback_sends_no_chord(t: Hand) -> None:
    with contextlib.suppress(Undone), transaction.atomic(using=ALIAS):
        chord([t("a", "add", 1), t("b", "add", 2)], t("c", "total"), app=t.app).delay()
        raise Undone


@case(eager=False, a="add, SUCCESS 1", b="add, SUCCESS 2", c="total, SUCCESS 3")
def a_commit_sends_a_chord(t: Hand) -> None:
    with transaction.atomic(using=ALIAS):
        chord([t("a", "add", 1), t("b", "add", 2)], t("c", "total"), app=t.app).delay()


@case(eager=False, a="add, SUCCESS 3")
def a_delay_counts_from_the_send(t: Hand) -> None:
    with transaction.atomic(using=ALIAS):
        t("a", "add", 1, 2, countdown=1).delay()
