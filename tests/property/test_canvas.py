"""Rules of the canvas algebra that hold for every workflow."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talo import Signature, Talo, chain, chord, group
from talo.canvas.plan import INLINE, PART, STEP, compile_workflow
from talo.wire.serializers import JSON

app = Talo("algebra", broker="memory://algebra", set_as_current=False)


@app.task(name="f")
def f(*args: Any) -> Any:
    return list(args)


def _calls() -> st.SearchStrategy[Signature]:
    def made(number: int, immutable: bool) -> Signature:
        return f.si(number) if immutable else f.s(number)

    return st.builds(made, st.integers(0, 99), st.booleans())


def _workflows() -> st.SearchStrategy[Signature]:
    def deeper(inner: st.SearchStrategy[Signature]) -> st.SearchStrategy[Signature]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            several.map(lambda parts: chain(*parts)),
            # A group of one after a step is that one task, as in Celery, so there brackets do matter.
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: group(parts)),
            st.builds(lambda header, body: chord(header, body, app=app), several, inner),
        )

    return st.recursive(_calls(), deeper, max_leaves=8)


workflows = _workflows()


def plain(signature: Any) -> Any:
    return json.loads(JSON.dumps(signature))


@given(workflows, workflows, workflows)
@settings(max_examples=150, deadline=None)
def test_it_does_not_matter_where_the_brackets_are(a: Signature, b: Signature, c: Signature) -> None:
    assert plain((a | b) | c) == plain(a | (b | c))


@given(workflows, workflows)
@settings(max_examples=100, deadline=None)
def test_the_operator_changes_neither_operand(a: Signature, b: Signature) -> None:
    before = copy.deepcopy(plain(a)), copy.deepcopy(plain(b))
    _ = a | b
    assert (plain(a), plain(b)) == before


@given(workflows)
@settings(max_examples=100, deadline=None)
def test_the_normal_form_is_its_own_normal_form(a: Signature) -> None:
    assert plain(chain(*chain(a).tasks)) == plain(chain(a))


@given(workflows)
@settings(max_examples=100, deadline=None)
def test_a_workflow_survives_json(a: Signature) -> None:
    again = Signature.from_dict(plain(a), app=app)
    assert type(again) is type(a)
    assert plain(again) == plain(a)


@given(workflows)
@settings(max_examples=100, deadline=None)
def test_a_clone_is_equal_and_shares_nothing_that_changes(a: Signature) -> None:
    # Given a clone
    before = copy.deepcopy(plain(a))
    twin = a.clone()
    assert plain(twin) == before
    # When its ids are fixed
    twin.freeze()
    # Then the original has none
    assert plain(a) == before


def _all_launches(launches: list[dict[str, Any]], records: list[Any]) -> list[dict[str, Any]]:
    found = []
    for launch in [*launches, *(one for record in records for one in (*record.start, *record.then))]:
        found += [launch, *(launch["options"].get("chain") or ())]
    return found


def _count(signature: Any) -> int:
    kind, kwargs = signature.get("subtask_type"), signature["kwargs"]
    if kind in ("chain", "group"):
        return sum(_count(task) for task in kwargs["tasks"])
    if kind == "chord":
        return _count(kwargs["header"]) + _count(kwargs["body"])
    return 1


@pytest.mark.promise("W04")
@given(workflows)
@settings(max_examples=150, deadline=None)
def test_every_call_is_written_once(a: Signature) -> None:
    # When a workflow is planned
    frozen = a.clone()
    frozen.freeze()
    launches, records = compile_workflow(frozen)
    # Then each of its calls stands in one place, under an id of its own
    calls = [launch for launch in _all_launches(launches, records) if launch["task"] != STEP]
    assert len(calls) == _count(frozen)
    ids = [call["options"]["task_id"] for call in calls]
    assert len(set(ids)) == len(ids)
    # And no message carries more steps than fit
    assert all(len(call["options"].get("chain") or ()) <= INLINE for call in calls)


@given(workflows)
@settings(max_examples=150, deadline=None)
def test_each_group_gets_one_end_for_every_member(a: Signature) -> None:
    frozen = a.clone()
    frozen.freeze()
    launches, records = compile_workflow(frozen)
    places: dict[str, set[int]] = {}
    for launch in _all_launches(launches, records):
        place = (launch["options"].get("headers") or {}).get(PART)
        if place is not None and launch["task"] != STEP:
            places.setdefault(place[0], set()).add(place[1])
    for record in records:
        if record.part is not None and not record.then:
            places.setdefault(record.part[0], set()).add(record.part[1])
    for record in records:
        if record.size:
            assert places[record.id] == set(range(record.size))
