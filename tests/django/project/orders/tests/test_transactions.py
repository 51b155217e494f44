"""Sends and transactions, on real commits: a TransactionTestCase."""

from __future__ import annotations

import threading
from unittest import mock

from django.apps import apps
from django.db import connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings

from orders.models import Note, Order
from orders.tasks import add, note, second_time, send_within, total
from talo import chain, chord, group
from talo.django.testing import TaloTestMixin
from talo.django.transactions import bound, unbound
from talo.errors import EncodeError, PublishTimeout, TaloWarning, UnsentTask


class Rolled(Exception):
    pass


class CommitTest(TaloTestMixin, TransactionTestCase):
    talo_commit = False
    databases = {"default", "other"}

    def waiting(self):
        return sum(queue.ready for queue in self.talo_app.store.broker.stats())

    def test_outside_of_a_transaction_a_send_goes_out_at_once(self):
        add.delay(1, 2)
        self.assertEqual(self.waiting(), 1)

    def test_inside_it_waits_for_the_commit_and_its_id_is_known(self):
        with transaction.atomic():
            order = Order.objects.create(what="x")
            result = note.delay(order.pk)
            self.assertEqual(len(result.id), 36)
            self.assertEqual(result.state, "PENDING")
            self.assertEqual(self.waiting(), 0)
        self.assertEqual(self.waiting(), 1)
        self.run_tasks()
        self.assertIs(result.get(timeout=5), True)

    def test_a_rollback_drops_it(self):
        with self.assertRaises(Rolled), transaction.atomic():
            note.delay(1)
            raise Rolled
        self.assertEqual(self.run_tasks(), 0)

    def test_the_rollback_of_a_savepoint_drops_what_was_sent_in_it(self):
        with transaction.atomic():
            add.delay(1, 0)
            with self.assertRaises(Rolled), transaction.atomic():
                add.delay(2, 0)
                with transaction.atomic():
                    add.delay(3, 0)
                raise Rolled
            with transaction.atomic():
                add.delay(4, 0)
        with self.subTest("two of four"):
            self.assertEqual(self.waiting(), 2)

    def test_the_arguments_are_those_of_the_call(self):
        words = ["first"]
        with transaction.atomic():
            result = add.delay(words, ["last"])
            words.append("later")
        self.run_tasks()
        self.assertEqual(result.get(timeout=5), ["first", "last"])

    def test_with_two_transactions_open_it_waits_for_both(self):
        with transaction.atomic(using="other"):
            with transaction.atomic():
                add.delay(1, 2)
            self.assertEqual(self.waiting(), 0)
        self.assertEqual(self.waiting(), 1)
        with self.assertRaises(Rolled), transaction.atomic(using="other"):
            with transaction.atomic():
                add.delay(1, 2)
            raise Rolled
        self.assertEqual(self.waiting(), 1)

    def test_only_the_named_databases_count(self):
        with override_settings(TALO_DJANGO_ON_COMMIT=["other"]):
            with transaction.atomic():
                add.delay(1, 2)
                self.assertEqual(self.waiting(), 1)
            with transaction.atomic(using="other"):
                add.delay(1, 2)
                self.assertEqual(self.waiting(), 1)
            self.assertEqual(self.waiting(), 2)

    def test_switched_off_nothing_waits_but_what_asks_for_it(self):
        with override_settings(TALO_DJANGO_ON_COMMIT=False), transaction.atomic():
            add.delay(1, 2)
            self.assertEqual(self.waiting(), 1)
            add.delay_on_commit(1, 2)
            add.apply_async_on_commit((1, 2), countdown=0)
            with bound():
                add.delay(3, 4)
            self.assertEqual(self.waiting(), 1)
        self.assertEqual(self.waiting(), 4)

    def test_unbound_sends_go_out_although_the_transaction_is_rolled_back(self):
        with self.assertRaises(Rolled), transaction.atomic():
            with unbound():
                add.delay(1, 2)
            raise Rolled
        self.assertEqual(self.waiting(), 1)

    def test_on_commit_sends_work_outside_of_transactions_and_give_a_handle(self):
        result = add.delay_on_commit(1, 2)
        self.run_tasks()
        self.assertEqual(result.get(timeout=5), 3)

    def test_on_commit_sends_run_at_the_commit_where_tasks_are_eager(self):
        with self.talo_app.conf.overridden(task_always_eager=True):
            with transaction.atomic():
                order = Order.objects.create(what="x")
                note.delay_on_commit(order.pk)
                self.assertEqual(Note.objects.count(), 0)
            self.assertEqual(Note.objects.count(), 1)

    def test_workflows_wait_as_a_whole(self):
        with transaction.atomic():
            line = chain(add.s(1, 2), add.s(10)).delay()
            block = chord([add.s(1, 1), add.s(2, 2)], total.s()).delay()
            many = group(add.s(1, n) for n in range(3)).delay()
            self.assertEqual(self.waiting(), 0)
        self.run_tasks()
        self.assertEqual(line.get(timeout=5), 13)
        self.assertEqual(block.get(timeout=5), 6)
        self.assertEqual(many.get(timeout=5), [1, 2, 3])

    def test_bulk_sends_wait_too(self):
        with transaction.atomic():
            results = self.talo_app.send_many(add.s(n, n) for n in range(50))
            self.assertEqual(self.waiting(), 0)
        self.assertEqual(self.run_tasks(), 50)
        self.assertEqual(results[7].get(timeout=5), 14)

    def test_waiting_inside_the_transaction_is_an_error_at_once(self):
        with transaction.atomic():
            result = add.delay(1, 2)
            line = chain(add.s(1, 2), add.s(10)).delay()
            many = group(add.s(1, n) for n in range(3)).delay()
            for waiting in (result, line, many):
                with self.assertRaisesRegex(
                    UnsentTask, "waits for the commit of the transaction.*call get\\(\\) after"
                ):
                    waiting.get()
        self.run_tasks()
        self.assertEqual(result.get(timeout=5), 3)

    def test_another_thread_may_wait(self):
        with transaction.atomic():
            result = add.delay(1, 2)
            seen = []

            def wait():
                seen.append(result.get(timeout=20))

            thread = threading.Thread(target=wait)
            thread.start()
        self.run_tasks()
        thread.join(20)
        self.assertEqual(seen, [3])

    def test_a_task_that_sends_in_a_transaction_of_its_own_is_bound_to_it(self):
        order = Order.objects.create(what="x")
        good, bad = send_within.delay(order.pk), send_within.delay(order.pk, fail=True)
        self.run_tasks()
        self.assertTrue(good.successful() and bad.failed())
        self.assertEqual(Note.objects.count(), 1)

    def test_a_broker_that_is_away_at_the_commit_is_told_to_the_caller(self):
        away = mock.patch.object(self.talo_app.store.broker, "send", side_effect=PublishTimeout("away"))
        with away, self.assertRaises(PublishTimeout):
            with transaction.atomic():
                order = Order.objects.create(what="kept")
                note.delay(order.pk)
        self.assertTrue(Order.objects.filter(pk=order.pk).exists())

    def test_an_instance_as_argument_is_refused_with_its_mend(self):
        order = Order.objects.create(what="x")
        for call in (lambda: note.delay(order), lambda: note.delay([{"order": order}])):
            with self.assertRaisesRegex(EncodeError, r"orders.tasks.note: orders.Order instance.*pass its pk"):
                call()
        with self.assertRaisesRegex(EncodeError, "query set"):
            note.delay(Order.objects.all())

    def test_where_an_instance_could_be_written_there_is_a_warning(self):
        order = Order.objects.create(what="x")
        with self.talo_app.conf.overridden(task_always_eager=True), self.assertWarnsRegex(TaloWarning, "pass its pk"):
            note.delay(order)
        with self.assertWarnsRegex(TaloWarning, "pass its pk"):
            note.apply_async((order,), serializer="pickle")


class SettingsTest(TestCase):
    def test_what_a_test_overrides_is_read_anew(self):
        app = apps.get_app_config("talo_django").app
        self.assertEqual(str(app.timezone), "Europe/Rome")
        with override_settings(TALO_TIMEZONE="Asia/Tokyo", TALO={"task_default_queue": "other"}):
            self.assertEqual((str(app.timezone), app.conf.task_default_queue), ("Asia/Tokyo", "other"))
        self.assertEqual((str(app.timezone), app.conf.task_default_queue), ("Europe/Rome", "celery"))


class InATestCaseTest(TaloTestMixin, TestCase):
    """J06 with the test's own transaction around everything."""

    def test_a_send_outside_of_the_codes_own_transactions_goes_out_at_once(self):
        order = Order.objects.create(what="x")
        note.delay(order.pk)
        self.assertEqual(self.run_tasks(), 1)
        self.assertEqual(list(Note.objects.values_list("seen", flat=True)), [True])

    def test_the_end_of_the_outermost_block_of_the_code_counts_as_commit(self):
        with transaction.atomic():
            with transaction.atomic():
                order = Order.objects.create(what="x")
                note.delay(order.pk)
            self.assertEqual(self.run_tasks(), 0)
        self.assertEqual(self.run_tasks(), 1)
        with self.assertRaises(Rolled), transaction.atomic():
            note.delay(order.pk)
            raise Rolled
        self.assertEqual(self.run_tasks(), 0)

    def test_a_worker_beside_the_test_sees_its_rows_and_opens_no_connection(self):
        order = Order.objects.create(what="x")
        before = connections["default"].connection
        with self.talo_worker():
            self.assertIs(note.delay(order.pk).get(timeout=10), True)
        self.assertIs(connections["default"].connection, before)
        self.assertEqual(Note.objects.count(), 1)

    def test_time_can_be_put_forward(self):
        result = second_time.delay()
        self.assertEqual(self.run_tasks(), 1)
        self.assertEqual(result.state, "RETRY")
        self.talo_clock.advance(3600)
        self.assertEqual(self.run_tasks(), 1)
        self.assertEqual(result.get(timeout=5), 1)

    def test_what_is_sent_can_be_caught(self):
        with self.capture_sends() as sends:
            with transaction.atomic():
                add.delay(1, y=2)
                self.assertEqual(len(sends), 0)
            self.assertEqual([(sent.args, sent.kwargs) for sent in sends.of(add)], [((1,), {"y": 2})])

    def test_a_view_that_sends(self):
        answer = self.client.get("/buy/")
        self.assertEqual(self.run_tasks(), 1)
        self.assertIs(self.talo_app.AsyncResult(answer.json()["task"]).get(timeout=5), True)


class InATestCaseByChoiceTest(TaloTestMixin, TestCase):
    talo_commit = False

    def test_sends_wait_for_captured_callbacks(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            with transaction.atomic():
                order = Order.objects.create(what="x")
                note.delay(order.pk)
            self.assertEqual(self.run_tasks(), 0)
        self.assertEqual(len(callbacks), 1)
        self.assertEqual(self.run_tasks(), 1)
