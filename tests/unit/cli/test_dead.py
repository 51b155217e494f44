"""``talo dead``: list, show, replay, drop."""

from __future__ import annotations

import base64
import json

import pytest

from talo.stores.base import Death, Settlement, Verdict
from tests.unit.cli.conftest import Project


def test_letters_are_listed_latest_first(project: Project) -> None:
    # Given
    (first,) = project.bury("some.task", 1)
    (second,) = project.bury("some.task", 2)
    # When
    rows = project.talo("dead", "list").rows
    # Then
    assert [row[4] for row in rows] == [second, first]
    assert rows[0][2:4] == ["celery", "some.task"]
    assert rows[0][5:] == ["failed", "no good"]


def test_letters_are_filtered_and_paged(project: Project) -> None:
    # Given
    project.bury("a.task", count=3)
    project.bury("b.task", count=1)
    # Then
    assert len(project.talo("dead", "list", "--task", "a.task").rows) == 3
    assert len(project.talo("dead", "list", "--queue", "other").rows) == 0
    assert len(project.talo("dead", "list", "--limit", "3").rows) == 3
    assert len(project.talo("dead", "list", "--limit", "3", "--offset", "3").rows) == 1


def test_a_text_of_several_lines_stays_in_its_row(project: Project) -> None:
    project.bury("some.task", text="one\n\ttwo")
    assert project.talo("dead", "list").rows[0][-1] == "one two"


def test_a_letter_is_shown_by_its_own_id_or_the_task_s(project: Project) -> None:
    # Given
    (task_id,) = project.bury("some.task", 1)
    letter = project.talo("dead", "list").rows[0][0]
    # Then
    shown = project.talo("dead", "show", task_id)
    assert shown.out == project.talo("dead", "show", letter).out
    assert "some.task" in shown.out and "no good" in shown.out and "traceback:\nTraceback:\n  line" in shown.out
    (facts,) = json.loads(project.talo("dead", "show", task_id, "--json").out)
    assert (facts["task_id"], facts["args"], facts["headers"]["id"]) == (task_id, "(1,)", task_id)


def test_showing_a_letter_that_is_not_there_fails(project: Project) -> None:
    project.talo("dead", "show", "4711").says_in_one_line("there is no dead letter 4711")


def test_a_replay_is_a_new_run_linked_to_the_old_one(project: Project) -> None:
    # Given
    (old,) = project.bury("some.task", 1)
    # When
    told = project.talo("dead", "replay", old)
    # Then
    assert told.code == 0
    _, replay_of, new = told.out.strip().split("\t")
    assert replay_of == old != new
    assert project.talo("dead", "list").rows == []
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "1", "0", "0"]]
    assert told.err == "Replayed 1 dead letter.\n"


@pytest.mark.promise("M04")
def test_replaying_all_keeps_to_the_filters(project: Project) -> None:
    # Given
    project.bury("a.task", count=2)
    project.bury("b.task", count=1)
    # When
    told = project.talo("dead", "replay", "--all", "--task", "a.task", "--json")
    # Then
    assert len(json.loads(told.out)) == 2
    assert [row[3] for row in project.talo("dead", "list").rows] == ["b.task"]


@pytest.mark.promise("M04")
def test_one_command_replays_a_thousand(project: Project) -> None:
    # Given
    old = project.bury("some.task", count=1000)
    # When
    told = project.talo("dead", "replay", "--all", "--json")
    # Then
    runs = json.loads(told.out)
    assert {run["replay_of"] for run in runs} == set(old)
    assert len({run["task_id"] for run in runs} - set(old)) == 1000
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "1000", "0", "0"]]


def test_replaying_what_is_not_there_fails_and_replays_the_rest(project: Project) -> None:
    # Given
    (old,) = project.bury("some.task")
    # When
    told = project.talo("-q", "dead", "replay", "4711", old)
    # Then
    assert old in told.out
    told.says_in_one_line("4711 was not replayed: there is no such dead letter")


@pytest.mark.parametrize("verb", ["replay", "drop"])
def test_ids_or_all_have_to_be_said(project: Project, verb: str) -> None:
    project.talo("dead", verb).says_in_one_line("say which: ids of dead letters, or --all")
    project.talo("dead", verb, "1", "--all").says_in_one_line("not both")
    project.talo("dead", verb, "1", "--task", "x").says_in_one_line("--task and --queue choose among --all")


def test_without_a_verb_it_prints_its_help(project: Project) -> None:
    told = project.talo("dead")
    assert told.code == 0
    assert all(f"  {verb} " in told.out for verb in ("list", "show", "replay", "drop"))


def test_dropping_asks(project: Project) -> None:
    # Given
    project.bury("some.task", count=2)
    # When nobody answers
    told = project.process("dead", "drop", "--all")
    # Then nothing is dropped
    assert told.code == 1 and "Delete 2 dead letters for good?" in told.out
    assert len(project.talo("dead", "list").rows) == 2
    # And a yes drops them
    assert "Dropped 2 dead letters." in project.process("dead", "drop", "--all", stdin="y\n").out
    assert project.talo("dead", "list").rows == []


def test_dropping_named_letters_says_which_were_missing(project: Project) -> None:
    # Given
    (task_id,) = project.bury("some.task")
    # When
    told = project.talo("-q", "dead", "drop", "-f", task_id, "4711")
    # Then
    told.says_in_one_line("1 dead letter of those that were named did not exist")
    assert project.talo("dead", "list").rows == []


def test_bytes_that_make_no_message_are_shown_escaped_and_whole_as_json(project: Project) -> None:
    # Given a dead letter of such bytes
    raw = b"\x1b[2Jjunk'" + b"x" * 2000
    with project.app() as app:
        broker = app.store.broker
        broker.push_raw("celery", raw)  # type: ignore[attr-defined]
        broker.open("gravedigger", worker="gravedigger@test", slots=1, lease=60)
        [delivery] = broker.turn([], "gravedigger", ["celery"], 1).deliveries
        death = Death(reason="bad_headers", text="junk")
        broker.settle([Settlement(lease=delivery.lease, verdict=Verdict.DEAD, death=death)])
    letter = project.talo("dead", "list").rows[0][0]
    # Then a person sees their beginning, and nothing that a terminal obeys
    [line] = [line for line in project.talo("dead", "show", letter).out.splitlines() if line.startswith("raw:")]
    assert line.split(maxsplit=1)[1].startswith(r"\x1b[2Jjunk'xxx")
    assert line.endswith("x... (2009 bytes)") and len(line) < 2050
    # And a program gets them all
    [facts] = json.loads(project.talo("dead", "show", letter, "--json").out)
    assert base64.b64decode(facts["raw"]) == raw
