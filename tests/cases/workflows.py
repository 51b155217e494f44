"""Workflows: chains, groups, chords, callbacks, and tasks that others replace."""

from __future__ import annotations

from talo import chain, chord, group
from tests.cases import Hand, case

NO = "ValueError('no')"
UNWRITABLE = (
    "EncodeError('args[0]: object of type object cannot be written as JSON; pass plain data (an id instead of the "
    "object), or give its class a __json__() method')"
)
FAILED = f"fails, FAILURE {NO}, dead: failed"


def chord_error(task_id: str, reason: str = NO) -> str:
    return "FAILURE ChordError(" + repr(f"Dependency {task_id} raised {reason}") + ")"


# -- callbacks


@case(a="add, SUCCESS 3", b="add, SUCCESS 13")
def a_link_gets_the_result(t: Hand) -> None:
    t("a", "add", 1, 2, link=t("b", "add", 10)).delay()


@case(a="add, SUCCESS 3", b="echo, SUCCESS mine")
def an_immutable_link_has_its_own(t: Hand) -> None:
    t("a", "add", 1, 2, link=t("b", "echo", "mine").set(immutable=True)).delay()


@case(a="add, SUCCESS 3", b="add, SUCCESS 4", c="add, SUCCESS 5")
def links_run_all(t: Hand) -> None:
    t("a", "add", 1, 2, link=[t("b", "add", 1), t("c", "add", 2)]).delay()


@case(a="add, SUCCESS 3", b="add, SUCCESS 4", c="add, SUCCESS 6")
def a_link_has_a_link(t: Hand) -> None:
    t("a", "add", 1, 2, link=t("b", "add", 1, link=t("c", "add", 2))).delay()


@case(a=FAILED, b="PENDING")
def a_failure_calls_no_link(t: Hand) -> None:
    t("a", "fails", link=t("b", "echo")).delay()


@case(a=FAILED, b="hears, SUCCESS a_failure_is_heard_of.a")
def a_failure_is_heard_of(t: Hand) -> None:
    t("a", "fails", link_error=t("b", "hears")).delay()


@case(a=f"fails, told of {NO}, FAILURE {NO}, dead: failed", b="PENDING")
def a_failure_is_told_in_place(t: Hand) -> None:
    t("a", "fails", link_error=t("b", "listens")).delay()


@case(a=f"fails, told of {NO}, FAILURE {NO}, dead: failed", b="hears, SUCCESS both_forms_hear_of_a_failure.a")
def both_forms_hear_of_a_failure(t: Hand) -> None:
    t("a", "fails", link_error=[t("b", "hears"), t("c", "listens")]).delay()


@case(a="add, SUCCESS 3", b="PENDING")
def a_success_calls_no_error_callback(t: Hand) -> None:
    t("a", "add", 1, 2, link_error=t("b", "hears")).delay()


@case(a=f"unwritable, told of {UNWRITABLE}, FAILURE {UNWRITABLE}, dead: failed", b="PENDING")
def what_cannot_be_written_calls_no_link(t: Hand) -> None:
    t("a", "unwritable", link=t("b", "echo"), link_error=t("c", "listens")).delay()


@case(a="add, SUCCESS 3", b="add, SUCCESS 4", c="add, SUCCESS 5", d="total, SUCCESS 9")
def a_link_is_a_chord(t: Hand) -> None:
    t("a", "add", 1, 2, link=chord([t("b", "add", 1), t("c", "add", 2)], t("d", "total"), app=t.app)).delay()


# -- chains


@case(a="add, SUCCESS 3", b="add, SUCCESS 13", c="add, SUCCESS 113")
def a_chain_hands_its_values_on(t: Hand) -> None:
    chain(t("a", "add", 1, 2), t("b", "add", 10), t("c", "add", 100)).delay()


@case(a="aecho, SUCCESS 1", b="add, SUCCESS 3")
def a_chain_goes_through_a_coroutine(t: Hand) -> None:
    chain(t("a", "aecho", 1), t("b", "add", 2)).delay()


@case(a="add, SUCCESS 3", b="echo, SUCCESS mine", c="add, SUCCESS 5")
def an_immutable_step_has_its_own(t: Hand) -> None:
    chain(
        t("a", "add", 1, 2), t("b", "echo", "mine").set(immutable=True), t("c", "add", 2, 3).set(immutable=True)
    ).delay()


@case(a="add, SUCCESS 3", b="refuses, FAILURE ValueError('not 3'), dead: failed", c="FAILURE ValueError('not 3')",
    d="FAILURE ValueError('not 3')")  # fmt: skip
def a_chain_ends_with_its_failure(t: Hand) -> None:
    chain(t("a", "add", 1, 2), t("b", "refuses"), t("c", "add", 1), t("d", "add", 1)).delay()


@case(a="add, SUCCESS 3", b="refuses, told of ValueError('not 3'), FAILURE ValueError('not 3'), dead: failed",
    c="FAILURE ValueError('not 3')")  # fmt: skip
def a_chain_tells_of_its_failure_once(t: Hand) -> None:
    chain(t("a", "add", 1, 2), t("b", "refuses"), t("c", "add", 1)).on_error(t("e", "listens")).delay()


@case(a="add, SUCCESS 3", b="add, SUCCESS 4", c="add, SUCCESS 5")
def a_chain_has_a_link(t: Hand) -> None:
    whole = chain(t("a", "add", 1, 2), t("b", "add", 1))
    whole.link(t("c", "add", 1))
    whole.delay()


@case(a="add, SUCCESS 1", z="add, SUCCESS 30")
def a_chain_is_long(t: Hand) -> None:
    steps = [t("a", "add", 1), *(t(f"s{n}", "add", 1) for n in range(28)), t("z", "add", 1)]
    chain(*steps).delay()


@case(a="ignores, ignored, PENDING", b="PENDING")
def an_ignored_step_ends_its_chain(t: Hand) -> None:
    chain(t("a", "ignores"), t("b", "echo")).delay()


@case(a="rejects, rejected, FAILURE Reject('not mine', False), dead: rejected", b="FAILURE Reject('not mine', False)")
def a_rejected_step_ends_its_chain(t: Hand) -> None:
    chain(t("a", "rejects"), t("b", "echo")).delay()


@case(a="forgets, PENDING", b="add, SUCCESS 3")
def a_result_that_is_not_stored_is_handed_on(t: Hand) -> None:
    chain(t("a", "forgets", 1), t("b", "add", 2)).delay()


# -- groups and chords


@case(a="add, SUCCESS 2", b="add, SUCCESS 4", c=FAILED)
def members_of_a_group_run_on_their_own(t: Hand) -> None:
    group(t("a", "add", 1, 1), t("b", "add", 2, 2), t("c", "fails")).delay()


@case(a="add, SUCCESS 2", b="add, SUCCESS 4", c="total, SUCCESS 6")
def a_chord_goes_on_with_all_results(t: Hand) -> None:
    chord([t("a", "add", 1, 1), t("b", "add", 2, 2)], t("c", "total"), app=t.app).delay()


@case(a="aecho, SUCCESS 2", b="aecho, SUCCESS 1", c="echo, SUCCESS [2, 1]")
def results_are_in_the_order_of_the_header(t: Hand) -> None:
    chord([t("a", "aecho", 2), t("b", "aecho", 1)], t("c", "echo"), app=t.app).delay()


@case(c="echo, SUCCESS []")
def a_header_is_empty(t: Hand) -> None:
    chord([], t("c", "echo"), app=t.app).delay()


@case(a="add, SUCCESS 2", c="echo, SUCCESS [2]")
def a_header_has_one_member(t: Hand) -> None:
    chord([t("a", "add", 1, 1)], t("c", "echo"), app=t.app).delay()


@case(a="add, SUCCESS 2", b=FAILED, c=chord_error("a_member_fails.b"))
def a_member_fails(t: Hand) -> None:
    chord([t("a", "add", 1, 1), t("b", "fails")], t("c", "total"), app=t.app).delay()


@case(a="add, SUCCESS 2", b=FAILED, c=chord_error("what_follows_a_broken_chord_fails.b"),
    d=chord_error("what_follows_a_broken_chord_fails.b"))  # fmt: skip
def what_follows_a_broken_chord_fails(t: Hand) -> None:
    (chord([t("a", "add", 1, 1), t("b", "fails")], t("c", "total"), app=t.app) | t("d", "add", 1)).delay()


@case(a="add, SUCCESS 2", b=FAILED, c=chord_error("a_body_hears_of_its_members.b"),
    d="hears, SUCCESS a_body_hears_of_its_members.c")  # fmt: skip
def a_body_hears_of_its_members(t: Hand) -> None:
    body = t("c", "total", link_error=t("d", "hears"))
    chord([t("a", "add", 1, 1), t("b", "fails")], body, app=t.app).delay()


@case(a="add, SUCCESS 2", b="add, SUCCESS 3", c="refuses, FAILURE ValueError('not [2, 3]'), dead: failed")
def a_body_fails(t: Hand) -> None:
    chord([t("a", "add", 1, 1), t("b", "add", 1, 2)], t("c", "refuses"), app=t.app).delay()


@case(a="ignores, ignored, PENDING", b="add, SUCCESS 3", c="echo, SUCCESS [None, 3]")
def an_ignored_member_counts_as_nothing(t: Hand) -> None:
    chord([t("a", "ignores"), t("b", "add", 1, 2)], t("c", "echo"), app=t.app).delay()


@case(eager=False, a="revoked revoked, REVOKED TaskRevokedError('revoked')", b="add, SUCCESS 3",
    c=chord_error("a_member_is_revoked.a", "TaskRevokedError('revoked')"))  # fmt: skip
def a_member_is_revoked(t: Hand) -> None:
    chord([t("a", "add", 1, 1), t("b", "add", 1, 2)], t("c", "echo"), app=t.app).delay()
    t.app.control.revoke(t.id("a"))


@case(a="add, SUCCESS 1", b="add, SUCCESS 2", c="add, SUCCESS 5", d="total, SUCCESS 7")
def a_chain_is_a_member(t: Hand) -> None:
    chord([chain(t("a", "add", 1), t("b", "add", 1)), t("c", "add", 5)], t("d", "total"), app=t.app).delay()


@case(a="add, SUCCESS 1", b="refuses, FAILURE ValueError('not 1'), dead: failed", c="FAILURE ValueError('not 1')",
    d=chord_error("a_chain_among_the_members_breaks.b", "ValueError('not 1')"))  # fmt: skip
def a_chain_among_the_members_breaks(t: Hand) -> None:
    whole = chain(t("a", "add", 1), t("b", "refuses"), t("c", "add", 1))
    chord([whole, t("e", "add", 5)], t("d", "total"), app=t.app).delay()


@case(a="add, SUCCESS 1", b="add, SUCCESS 2", c="total, SUCCESS 3", d="add, SUCCESS 5", e="echo, SUCCESS [3, 5]")
def a_chord_is_a_member(t: Hand) -> None:
    inner = chord([t("a", "add", 1), t("b", "add", 2)], t("c", "total"), app=t.app)
    chord([inner, t("d", "add", 5)], t("e", "echo"), app=t.app).delay()


@case(a=FAILED, b="add, SUCCESS 2", c=chord_error("a_chord_among_the_members_breaks.a"), d="add, SUCCESS 5",
    e=chord_error("a_chord_among_the_members_breaks.c", "ChordError(\"Dependency a_chord_among_the_members_breaks.a "
    "raised ValueError('no')\")"))  # fmt: skip
def a_chord_among_the_members_breaks(t: Hand) -> None:
    inner = chord([t("a", "fails"), t("b", "add", 2)], t("c", "total"), app=t.app)
    chord([inner, t("d", "add", 5)], t("e", "echo"), app=t.app).delay()


@case(a="add, SUCCESS 2", b="add, SUCCESS 3", c="add, SUCCESS 4", d="total, SUCCESS 7", e="add, SUCCESS 107")
def a_chain_goes_through_a_group(t: Hand) -> None:
    (t("a", "add", 1, 1) | group(t("b", "add", 1), t("c", "add", 2)) | t("d", "total") | t("e", "add", 100)).delay()


@case(a="add, SUCCESS 2", b="add, SUCCESS 3", c="add, SUCCESS 4")
def a_chain_ends_in_a_group(t: Hand) -> None:
    (t("a", "add", 1, 1) | group(t("b", "add", 1), t("c", "add", 2))).delay()


@case(a="add, SUCCESS 1", b="add, SUCCESS 2", c="total, SUCCESS 3", d="total, SUCCESS 3", e="echo, SUCCESS [3, 3]")
def a_group_follows_a_group(t: Hand) -> None:
    first, second = group(t("a", "add", 1), t("b", "add", 2)), group(t("c", "total"), t("d", "total"))
    (first | second | t("e", "echo")).delay()


@case(a="add, SUCCESS 3", b="refuses, FAILURE ValueError('not 3'), dead: failed", c="add, SUCCESS 4",
    d=chord_error("a_group_in_a_chain_breaks.b", "ValueError('not 3')"),
    e=chord_error("a_group_in_a_chain_breaks.b", "ValueError('not 3')"))  # fmt: skip
def a_group_in_a_chain_breaks(t: Hand) -> None:
    (t("a", "add", 1, 2) | group(t("b", "refuses"), t("c", "add", 1)) | t("d", "total") | t("e", "add", 1)).delay()


@case(a="add, SUCCESS 2", b="add, SUCCESS 4", c="total, SUCCESS 6", d="add, SUCCESS 7")
def a_body_is_a_chain(t: Hand) -> None:
    chord([t("a", "add", 1, 1), t("b", "add", 2, 2)], chain(t("c", "total"), t("d", "add", 1)), app=t.app).delay()


@case(eager=False, a="grows, SUCCESS grown", b="add, SUCCESS 3", c="echo, SUCCESS ['grown', 3]")
def a_member_adds_another(t: Hand) -> None:
    chord([t("a", "grows", t("b", "add", 1, 2))], t("c", "echo"), app=t.app).delay()


@case(a="sends, SUCCESS 1", b="add, SUCCESS 1", c="add, SUCCESS 2", d="total, SUCCESS 3")
def a_task_sends_a_chord(t: Hand) -> None:
    t("a", "sends", chord([t("b", "add", 1), t("c", "add", 2)], t("d", "total"), app=t.app)).delay()


# -- replaced


@case(a="gives_way, ignored, add, SUCCESS 3")
def a_task_is_replaced(t: Hand) -> None:
    t("a", "gives_way", t("b", "add", 1, 2)).delay()


@case(a="gives_way, ignored, fails, FAILURE ValueError('no'), dead: failed")
def the_successor_fails(t: Hand) -> None:
    t("a", "gives_way", t("b", "fails")).delay()


@case(a="gives_way, ignored, gives_way, ignored, add, SUCCESS 3")
def the_successor_is_replaced(t: Hand) -> None:
    t("a", "gives_way", t("b", "gives_way", t("c", "add", 1, 2))).delay()


@case(a="gives_way, ignored, add, SUCCESS 3", b="add, SUCCESS 4")
def the_link_waits_for_the_successor(t: Hand) -> None:
    t("a", "gives_way", t("s", "add", 1, 2), link=t("b", "add", 1)).delay()


@case(a="gives_way, ignored, fails, FAILURE ValueError('no'), dead: failed",
    b="hears, SUCCESS the_error_callback_goes_to_the_successor.a")  # fmt: skip
def the_error_callback_goes_to_the_successor(t: Hand) -> None:
    t("a", "gives_way", t("s", "fails"), link_error=t("b", "hears")).delay()


@case(a="add, SUCCESS 1", b="gives_way_with, ignored, add, SUCCESS 11", c="add, SUCCESS 111")
def a_step_is_replaced(t: Hand) -> None:
    chain(t("a", "add", 1), t("b", "gives_way_with", t("s", "add", 10)), t("c", "add", 100)).delay()


@case(a="gives_way, ignored, add, SUCCESS 5", b="add, SUCCESS 3", c="total, SUCCESS 8")
def a_member_is_replaced(t: Hand) -> None:
    chord([t("a", "gives_way", t("s", "add", 5)), t("b", "add", 1, 2)], t("c", "total"), app=t.app).delay()


@case(a="gives_way, ignored, add, SUCCESS 6", b="add, SUCCESS 5", d="add, SUCCESS 106")
def a_step_is_replaced_by_a_chain(t: Hand) -> None:
    chain(t("a", "gives_way", chain(t("b", "add", 5), t("c", "add", 1))), t("d", "add", 100)).delay()


@case(a="gives_way, ignored, celery.accumulate, SUCCESS [1, 2]", b="add, SUCCESS 1", c="add, SUCCESS 2",
    d="total, SUCCESS 3")  # fmt: skip
def a_step_is_replaced_by_a_group(t: Hand) -> None:
    chain(t("a", "gives_way", group(t("b", "add", 1), t("c", "add", 2))), t("d", "total")).delay()


@case(a="gives_way, ignored, total, SUCCESS 3", b="add, SUCCESS 1", c="add, SUCCESS 2", d="add, SUCCESS 103")
def a_step_is_replaced_by_a_chord(t: Hand) -> None:
    successor = chord([t("b", "add", 1), t("c", "add", 2)], t("s", "total"), app=t.app)
    chain(t("a", "gives_way", successor), t("d", "add", 100)).delay()


@case(a="gives_way, ignored, flaky, retry in 1, flaky, SUCCESS 1", b="add, SUCCESS 2")
def the_successor_is_tried_again(t: Hand) -> None:
    chain(t("a", "gives_way", t("s", "flaky", 1, kw={"countdown": 1})), t("b", "add", 1)).delay()
