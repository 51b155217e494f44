"""The outbox, seen from inside one process."""

from __future__ import annotations

import time
from unittest import mock

from django.db import OperationalError, transaction
from django.test import TestCase, TransactionTestCase, override_settings

from orders.models import Note, Order
from orders.tasks import add, note
from talo.django import outbox
from talo.django.models import OutboxMessage
from talo.django.testing import TaloTestMixin
from talo.errors import MessageTooLarge, PublishTimeout, StoreUnavailable


@override_settings(TALO_OUTBOX=True)
class OutboxTest(TaloTestMixin, TransactionTestCase):
    talo_commit = False

    def rows(self):
        return OutboxMessage.objects.count()

    def test_a_send_is_a_row_until_it_is_published(self):
        with transaction.atomic():
            result = note.delay(Order.objects.create(what="x").pk)
            [row] = OutboxMessage.objects.all()
            self.assertEqual((row.task_id, row.task, str(row)), (result.id, note.name, f"{note.name}[{result.id}]"))
        self.assertEqual(self.rows(), 0)
        self.assertEqual(self.run_tasks(), 1)
        self.assertIs(result.get(timeout=5), True)

    def test_outside_of_a_transaction_there_is_none(self):
        with mock.patch.object(outbox, "keep", side_effect=AssertionError):
            add.delay(1, 2)
        self.assertEqual(self.run_tasks(), 1)

    def test_a_rollback_takes_the_row_with_it(self):
        with transaction.atomic():
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                add.delay(1, 2)
                raise ZeroDivisionError
            self.assertEqual(self.rows(), 0)
            add.delay(1, 2)
        self.assertEqual(self.run_tasks(), 1)

    def test_what_cannot_be_published_stays_and_the_caller_is_not_bothered(self):
        away = mock.patch.object(self.talo_app.store.broker, "send", side_effect=PublishTimeout("away"))
        with away, self.assertLogs("talo.django", "WARNING"), transaction.atomic():
            add.delay(1, 2)
        self.assertEqual(self.rows(), 1)
        # Nobody takes it before its sender's claim is over
        self.assertEqual(outbox.publish_free(self.talo_app, "default"), 0)
        OutboxMessage.objects.update(claimed_until=time.time() - 1)
        away = mock.patch.object(self.talo_app.store.broker, "send", side_effect=StoreUnavailable("away"))
        with away, self.assertRaises(StoreUnavailable):
            outbox.publish_free(self.talo_app, "default")
        self.assertEqual(self.rows(), 1)
        OutboxMessage.objects.update(claimed_until=time.time() - 1)
        self.assertEqual(outbox.publish_free(self.talo_app, "default"), 1)
        self.assertEqual((self.rows(), self.run_tasks()), (0, 1))

    def test_a_transaction_that_outlives_its_claim_claims_again(self):
        claims = []
        send = self.talo_app.store.broker.send

        def look(messages, timeout=None):
            claims.append(OutboxMessage.objects.get().claimed_until > until)
            send(messages, timeout=timeout)

        with self.talo_app.conf.overridden(outbox_lease=0.0):
            with mock.patch.object(self.talo_app.store.broker, "send", look), transaction.atomic():
                add.delay(1, 2)
                until = OutboxMessage.objects.get().claimed_until
        self.assertEqual((claims, self.rows(), self.run_tasks()), ([True], 0, 1))

    def test_and_leaves_it_to_a_relay_that_was_quicker(self):
        with self.talo_app.conf.overridden(outbox_lease=0.0):
            with transaction.atomic():
                add.delay(1, 2)
                OutboxMessage.objects.update(claimed_until=time.time() + 60, claim="a relay's")
            self.assertEqual((self.rows(), self.run_tasks()), (1, 0))

    def test_a_row_that_cannot_be_deleted_makes_a_second_copy_of_which_one_runs(self):
        order = Order.objects.create(what="x")
        broken = mock.patch("django.db.models.query.QuerySet.delete", side_effect=OperationalError("cut"))
        with broken, self.assertLogs("talo.django", "WARNING"), transaction.atomic():
            note.delay(order.pk)
        OutboxMessage.objects.update(claimed_until=time.time() - 1)
        self.assertEqual(outbox.publish_free(self.talo_app, "default"), 1)
        self.assertEqual(sum(queue.ready for queue in self.talo_app.store.broker.stats()), 2)
        self.run_tasks()
        self.assertEqual((self.rows(), Note.objects.count()), (0, 1))

    def test_one_that_is_refused_for_good_holds_up_no_other(self):
        away = mock.patch.object(self.talo_app.store.broker, "send", side_effect=PublishTimeout("away"))
        with away, self.assertLogs("talo.django", "WARNING"), transaction.atomic():
            add.delay(1, 2)
            add.delay(3, 4)
            add.delay(5, 6)
        first, second, _ = OutboxMessage.objects.order_by("pk")
        OutboxMessage.objects.filter(pk=first.pk).update(body=b"of another version")
        OutboxMessage.objects.update(claimed_until=time.time() - 1)
        send = self.talo_app.store.broker.send

        def picky(messages, timeout=None):
            if any(message.id == second.task_id for message in messages):
                raise MessageTooLarge(2, 1, "it")
            send(messages, timeout=timeout)

        with mock.patch.object(self.talo_app.store.broker, "send", picky), self.assertLogs("talo.django", "ERROR"):
            self.assertEqual(outbox.publish_free(self.talo_app, "default"), 1)
        self.assertEqual((self.rows(), self.run_tasks()), (2, 1))
        self.assertEqual(outbox.publish_free(self.talo_app, "default"), 0)

    def test_the_rows_of_another_app_are_left_to_its_workers(self):
        away = mock.patch.object(self.talo_app.store.broker, "send", side_effect=PublishTimeout("away"))
        with away, self.assertLogs("talo.django", "WARNING"), transaction.atomic():
            add.delay(1, 2)
        OutboxMessage.objects.update(claimed_until=time.time() - 1, app="another")
        self.assertEqual(outbox.publish_free(self.talo_app, "default"), 0)

    def test_many_sends_of_one_call_are_kept_in_order(self):
        with transaction.atomic():
            self.talo_app.send_many([add.s(n, 0) for n in range(5)])
            tasks = list(OutboxMessage.objects.order_by("pk").values_list("task_id", flat=True))
        self.assertEqual(len(set(tasks)), 5)
        self.assertEqual((self.rows(), self.run_tasks()), (0, 5))


@override_settings(TALO_OUTBOX=True)
class OutboxInATestCaseTest(TaloTestMixin, TestCase):
    def test_it_works_inside_the_tests_transaction(self):
        with transaction.atomic():
            note.delay(Order.objects.create(what="x").pk)
            self.assertEqual(OutboxMessage.objects.count(), 1)
        self.assertEqual((OutboxMessage.objects.count(), self.run_tasks()), (0, 1))
