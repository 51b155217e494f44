"""Retries: who asks for them, when they come, when they end. And what else is about time."""

from __future__ import annotations

from talo import chain, group
from tests.cases import Hand, case

NO = "ValueError('no')"


@case(a="flaky, retry in 2, flaky, SUCCESS 1")
def a_retry_waits_for_the_task_s_delay(t: Hand) -> None:
    t("a", "flaky", 1).delay()


@case(a="flaky, retry in 1, flaky, retry in 1, flaky, SUCCESS 2")
def retries_wait_for_their_countdown(t: Hand) -> None:
    t("a", "flaky", 2, kw={"countdown": 1}).delay()


@case(a="flaky, retry in 0, flaky, SUCCESS 1")
def a_retry_comes_at_once(t: Hand) -> None:
    t("a", "flaky", 1, kw={"countdown": 0}).delay()


@case(a="flaky, retry in 0, flaky, retry in 0, flaky, retry in 0, flaky, FAILURE MaxRetriesExceededError("
    "\"Can't retry tests.apps.engine.flaky[retries_are_used_up.a] args:[9] kwargs:{'countdown': 0}\"), "
    "dead: failed")  # fmt: skip
def retries_are_used_up(t: Hand) -> None:
    t("a", "flaky", 9, kw={"countdown": 0}).delay()


@case(a="flaky, retry in 0, flaky, FAILURE MaxRetriesExceededError("
    "\"Can't retry tests.apps.engine.flaky[the_retry_says_how_many.a] args:[9] kwargs:"
    "{'countdown': 0, 'max_retries': 1}\"), dead: failed")  # fmt: skip
def the_retry_says_how_many(t: Hand) -> None:
    t("a", "flaky", 9, kw={"countdown": 0, "max_retries": 1}).delay()


@case(a=f"stumbles, retry in 1 for {NO}, stumbles, retry in 1 for {NO}, stumbles, FAILURE {NO}, dead: failed")
def the_last_failure_is_the_reason(t: Hand) -> None:
    t("a", "stumbles", "no").delay()


@case(a="stumbles_quietly, retry in 1, stumbles_quietly, SUCCESS the end")
def a_retry_that_raises_nothing(t: Hand) -> None:
    t("a", "stumbles_quietly").delay()


@case(a="counts_down, retry in 1, counts_down, retry in 1, counts_down, SUCCESS 2")
def a_retry_has_other_arguments(t: Hand) -> None:
    t("a", "counts_down", 2).delay()


@case(a="recovers, retry in 1 for ValueError('attempt 0'), recovers, SUCCESS 1")
def an_exception_is_a_reason_to_retry(t: Hand) -> None:
    t("a", "recovers", 1).delay()


@case(a="recovers, retry in 1 for ValueError('attempt 0'), recovers, retry in 1 for ValueError('attempt 1'), "
    "recovers, FAILURE ValueError('attempt 2'), dead: failed")  # fmt: skip
def exceptions_are_used_up(t: Hand) -> None:
    t("a", "recovers", 9).delay()


@case(a="spares_keys, FAILURE KeyError('this one stays'), dead: failed")
def an_exception_is_no_reason_to_retry(t: Hand) -> None:
    t("a", "spares_keys").delay()


@case(a=f"backs_off, retry in 1 for {NO}, backs_off, retry in 2 for {NO}, backs_off, retry in 3 for {NO}, backs_off, "
    "SUCCESS 3")  # fmt: skip
def delays_double_up_to_the_cap(t: Hand) -> None:
    t("a", "backs_off", 3).delay()


@case(a=f"arecovers, retry in 1 for {NO}, arecovers, SUCCESS 1")
def a_coroutine_is_tried_again(t: Hand) -> None:
    t("a", "arecovers", 1).delay()


@case(eager=False, a="sees_itself, sees PENDING, retry in 1, sees_itself, sees RETRY, SUCCESS ['RETRY']")
def between_attempts_the_state_is_retry(t: Hand) -> None:
    t("a", "sees_itself").delay()


@case(a="flaky, retry in 1, flaky, SUCCESS 1", b="add, SUCCESS 11")
def a_link_waits_for_the_last_attempt(t: Hand) -> None:
    t("a", "flaky", 1, kw={"countdown": 1}, link=t("b", "add", 10)).delay()


@case(a=f"stumbles, retry in 1 for {NO}, stumbles, retry in 1 for {NO}, stumbles, told of {NO}, FAILURE {NO}, "
    "dead: failed")  # fmt: skip
def an_error_callback_waits_for_the_last_attempt(t: Hand) -> None:
    t("a", "stumbles", "no", link_error=t("b", "listens")).delay()


@case(a="flaky, retry in 1, flaky, SUCCESS 1", b="flaky, retry in 2, flaky, SUCCESS 1", c="total, SUCCESS 2")
def members_are_tried_again(t: Hand) -> None:
    (group(t("a", "flaky", 1, kw={"countdown": 1}), t("b", "flaky", 1)) | t("c", "total")).delay()


@case(a="add, SUCCESS 1", b="flaky, retry in 1, flaky, SUCCESS 1", c="add, SUCCESS 2")
def a_step_is_tried_again(t: Hand) -> None:
    chain(t("a", "add", 1), t("b", "flaky", kw={"countdown": 1}), t("c", "add", 1)).delay()


# -- time


@case(a="add, SUCCESS 3")
def a_call_is_due_later(t: Hand) -> None:
    t("a", "add", 1, 2, countdown=2).delay()


@case(a="add, SUCCESS 3")
def a_call_is_due_at_a_time(t: Hand) -> None:
    t("a", "add", 1, 2).apply_async(eta=t.app.now())


@case(eager=False, a="revoked expired, REVOKED TaskRevokedError('expired')")
def a_call_expires_before_it_is_due(t: Hand) -> None:
    t("a", "add", 1, 2, countdown=2, expires=1).delay()


@case(a="add, SUCCESS 3")
def a_call_comes_before_it_expires(t: Hand) -> None:
    t("a", "add", 1, 2, countdown=1, expires=100).delay()


@case(a="flaky, retry in 2, flaky, retry in 2, flaky, SUCCESS 2", b="sends, SUCCESS 1", c="add, SUCCESS 3")
def what_is_sent_late_does_not_expire_early(t: Hand) -> None:
    """The call that the task at three units sends has two more from then on."""
    t("a", "flaky", 2).delay()
    t("b", "sends", t("c", "add", 1, 2, countdown=1, expires=60), countdown=3).delay()


@case(eager=False, a="sends, SUCCESS 1", b="flaky, retry in 6, revoked expired, REVOKED TaskRevokedError('expired')")
def a_retry_comes_too_late(t: Hand) -> None:
    """The worker has its time to start, and then to get to the task before it expires."""
    t("a", "sends", t("b", "flaky", 1, kw={"countdown": 6}, expires=5), countdown=2).delay()


@case(eager=False, a="add, SUCCESS 1", b="revoked expired, REVOKED TaskRevokedError('expired')",
    c="REVOKED TaskRevokedError('expired')")  # fmt: skip
def a_step_expires_with_what_follows(t: Hand) -> None:
    chain(t("a", "add", 1), t("b", "add", 1, countdown=2, expires=1), t("c", "add", 1)).delay()


@case(eager=False, a="rare, SUCCESS in time", b="rare, SUCCESS in time", c="rare, SUCCESS in time")
def a_rate_is_kept(t: Hand) -> None:
    for label in "abc":
        t(label, "rare").delay()


@case(eager=False, a="ranks, SUCCESS 2", b="ranks, SUCCESS 0", c="ranks, SUCCESS 1")
def high_priority_comes_first(t: Hand) -> None:
    for label, priority in (("a", 0), ("b", 9), ("c", 5)):
        t(label, "ranks", "priority", priority=priority, queue="ranked").delay()


@case(eager=False, a="ranks, SUCCESS 0", b="ranks, SUCCESS 1", c="ranks, SUCCESS 2")
def equal_calls_keep_their_order(t: Hand) -> None:
    for label in "abc":
        t(label, "ranks", "order", queue="ranked").delay()


# -- revoked


@case(eager=False, a="revoked revoked, REVOKED TaskRevokedError('revoked')")
def a_queued_task_is_revoked(t: Hand) -> None:
    t("a", "add", 1, 2).delay().revoke()


@case(eager=False, a="revoked revoked, REVOKED TaskRevokedError('revoked')")
def a_delayed_task_is_revoked(t: Hand) -> None:
    t("a", "add", 1, 2, countdown=2).delay().revoke()


@case(eager=False, a="revoked revoked, REVOKED TaskRevokedError('revoked')", b="REVOKED TaskRevokedError('revoked')")
def a_chain_is_revoked_at_its_first_step(t: Hand) -> None:
    chain(t("a", "add", 1, 2), t("b", "add", 1)).delay()
    t.app.control.revoke(t.id("a"))


@case(eager=False, a="revoked revoked, REVOKED TaskRevokedError('revoked')", b="PENDING", c="PENDING")
def a_revoked_task_calls_nobody(t: Hand) -> None:
    t("a", "add", 1, 2, link=t("c", "add", 1), link_error=t("b", "hears")).delay().revoke()
