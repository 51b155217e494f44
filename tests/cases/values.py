"""Values, states and failures: one task at a time."""

from __future__ import annotations

from tests.cases import Hand, case


@case(a="add, SUCCESS 3")
def a_task_returns(t: Hand) -> None:
    t("a", "add", 1, 2).delay()


@case(a="named, SUCCESS abab")
def keywords_arrive(t: Hand) -> None:
    t("a", "named", kw={"name": "ab", "times": 2}).delay()


@case(a="echo, SUCCESS {'list': [1, 2.5, None, True], 'text': 'ü'}")
def values_come_back(t: Hand) -> None:
    t("a", "echo", {"list": [1, 2.5, None, True], "text": "ü"}).delay()


@case(a="echo, SUCCESS [1, [2, 3]]")
def a_tuple_comes_back_as_a_list(t: Hand) -> None:
    t("a", "echo", (1, (2, 3))).delay()


@case(a="echo, SUCCESS None")
def nothing_is_a_value(t: Hand) -> None:
    t("a", "echo").delay()


@case(a="aecho, SUCCESS 7")
def a_coroutine_returns(t: Hand) -> None:
    t("a", "aecho", 7).delay()


@case(
    a="who, SUCCESS {'id': 'a_task_knows_itself.a', 'root': 'a_task_knows_itself.a', 'parent': None, 'group': False, "
    "'retries': 0, 'direct': False, 'headers': 'blue'}"
)
def a_task_knows_itself(t: Hand) -> None:
    t("a", "who", headers={"tenant": "blue"}).delay()


@case(a="fails, FAILURE ValueError('no'), dead: failed")
def a_task_fails(t: Hand) -> None:
    t("a", "fails").delay()


@case(a="afails, FAILURE ValueError('no'), dead: failed")
def a_coroutine_fails(t: Hand) -> None:
    t("a", "afails").delay()


@case(a="expects_to_fail, FAILURE KeyError('none'), dead: failed")
def a_failure_is_expected(t: Hand) -> None:
    t("a", "expects_to_fail").delay()


@case(a="fails_without_a_letter, FAILURE ValueError('no')")
def a_failure_without_a_letter(t: Hand) -> None:
    t("a", "fails_without_a_letter").delay()


@case(a="add, FAILURE TypeError(\"add() missing 1 required positional argument: 'x'\"), dead: failed")
def arguments_are_missing(t: Hand) -> None:
    t("a", "add").delay()


@case(a="named, FAILURE TypeError(\"named() got an unexpected keyword argument 'nome'\"), dead: failed")
def a_keyword_is_wrong(t: Hand) -> None:
    t("a", "named", kw={"nome": "x"}).delay()


@case(a="unwritable, FAILURE EncodeError('result: object of type object cannot be written as JSON; pass plain data "
    "(an id instead of the object), or give its class a __json__() method'), dead: failed")  # fmt: skip
def a_result_cannot_be_written(t: Hand) -> None:
    t("a", "unwritable").delay()


@case(a="ignores, ignored, PENDING")
def a_task_is_ignored(t: Hand) -> None:
    t("a", "ignores").delay()


@case(a="stops_short, ignored, HALF {'value': 5}")
def a_state_of_its_own_is_the_last(t: Hand) -> None:
    t("a", "stops_short", 5).delay()


@case(a="progresses, SUCCESS [['PROGRESS', {'done': 1}], ['PROGRESS', {'done': 2}]]")
def states_on_the_way_are_stored(t: Hand) -> None:
    t("a", "progresses").delay()


@case(eager=False, a="starts, SUCCESS STARTED")
def a_start_is_tracked(t: Hand) -> None:
    t("a", "starts").delay()


@case(a="forgets, PENDING")
def a_result_is_not_wanted(t: Hand) -> None:
    t("a", "forgets", 1).delay()


@case(a="echo, PENDING")
def a_result_is_not_wanted_by_the_caller(t: Hand) -> None:
    t("a", "echo", 1, ignore_result=True).delay()


@case(a="forgets_its_failure, PENDING, dead: failed")
def a_failure_is_not_wanted(t: Hand) -> None:
    t("a", "forgets_its_failure").delay()


@case(a="keeps_its_failure, FAILURE ValueError('no'), dead: failed")
def a_failure_is_kept_all_the_same(t: Hand) -> None:
    t("a", "keeps_its_failure").delay()


@case(a="rejects, rejected, FAILURE Reject('not mine', False), dead: rejected")
def a_task_is_rejected(t: Hand) -> None:
    t("a", "rejects").delay()


@case(eager=False, a="sends_back, rejected, sends_back, SUCCESS the second time")
def a_task_is_sent_back(t: Hand) -> None:
    t("a", "sends_back").delay()


@case(eager=False, a="unknown, FAILURE NotRegistered('tests.apps.engine.nobody'), dead: unregistered")
def a_task_is_unknown(t: Hand) -> None:
    t("a", "nobody").delay()


@case(a="sends, SUCCESS 2", b="add, SUCCESS 3", c="fails, FAILURE ValueError('no'), dead: failed")
def a_task_sends_others(t: Hand) -> None:
    t("a", "sends", t("b", "add", 1, 2), t("c", "fails")).delay()


@case(a="sends, SUCCESS 1", b="sends, SUCCESS 1", c="who, SUCCESS {'id': 'sends_are_traced_to_their_root.c', "
    "'root': 'sends_are_traced_to_their_root.a', 'parent': 'sends_are_traced_to_their_root.b', 'group': False, "
    "'retries': 0, 'direct': False, 'headers': None}")  # fmt: skip
def sends_are_traced_to_their_root(t: Hand) -> None:
    t("a", "sends", t("b", "sends", t("c", "who"))).delay()


@case(eager=False, a="is_warned, SUCCESS cleaned up")
def a_soft_limit_is_caught(t: Hand) -> None:
    t("a", "is_warned").delay()


@case(eager=False, a="spins, FAILURE SoftTimeLimitExceeded(), dead: failed")
def a_soft_limit_of_the_call(t: Hand) -> None:
    t("a", "spins", soft_time_limit=0.2).delay()


@case(eager=False, a="spins, FAILURE TimeLimitExceeded(0.3), dead: time_limit")
def a_hard_limit_of_the_call(t: Hand) -> None:
    # When all else has ended: the process ends with it, and what RabbitMQ was told just before may come again
    t("a", "spins", time_limit=0.3, countdown=5).delay()


@case(eager=False, a="is_deaf, warned, FAILURE TimeLimitExceeded(0.6), dead: time_limit")
def a_hard_limit_after_the_soft_one(t: Hand) -> None:
    t("a", "is_deaf", countdown=9).delay()


@case(eager=False, a="awaits, FAILURE SoftTimeLimitExceeded(), dead: failed")
def a_coroutine_is_over_its_limit(t: Hand) -> None:
    t("a", "awaits").delay()


@case(a="add, SUCCESS 3")
def a_limit_that_is_not_reached(t: Hand) -> None:
    t("a", "add", 1, 2, soft_time_limit=100, time_limit=200).delay()
