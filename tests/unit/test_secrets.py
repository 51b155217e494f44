"""Secret arguments: which they are, that they are sealed, who may open them, and what an exception keeps of them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from talo import Secret, Talo, chain, chord, group, signature
from talo.control.dead import DeadLetters
from talo.errors import EncodeError, ImproperlyConfigured, SealError
from talo.execution.secrets import marks_of
from talo.testing.local import LocalWorker
from talo.types import SECRET
from talo.wire.keyring import Keyring
from talo.wire.message import Message
from talo.wire.protocol import decode
from talo.wire.repr import saferepr
from talo.wire.sealed import MASK, PREFIX, Sealed, masked, unmasked

KEY = "a key of sixteen characters at least"
WORD = "correct horse"


@pytest.fixture
def talo_base_app() -> Talo:
    return Talo("secrets", secret_keys=[KEY], set_as_current=False)


@pytest.fixture
def run_all(talo_app: Talo) -> Callable[[], int]:
    return lambda: LocalWorker(talo_app).run_all()


def log_in_of(app: Talo) -> Any:
    @app.task(shared=False, name="log_in")
    def log_in(user: str, word: Secret[str], *, pin: Secret[int] | None = None) -> str:
        return f"{user} {word} {pin}"

    return log_in


def texts(message: Message) -> str:
    """All of a message that a store keeps."""
    return f"{message.headers} {message.body.decode()} {message.properties}"


# -- marks


class TestMarks:
    @pytest.mark.parametrize(
        "annotation",
        [
            Secret[str],
            "Secret[str]",
            "Secret[str] | None",
            Secret[str] | None,
            list[Secret[str]],
            Annotated[str, SECRET],
            "Password",
            "OnlyForCheckers | Secret[str]",
        ],
        ids=str,
    )
    def test_a_mark_counts_wherever_it_stands_in_an_annotation(self, annotation: Any) -> None:
        def task(user, word):  # type: ignore[no-untyped-def]
            pass

        task.__annotations__ = {"word": annotation}
        marks = marks_of(task, "t")
        assert marks is not None
        assert (marks.at(0), marks.at(1), marks.of("user"), marks.of("word")) == (False, True, False, True)

    @pytest.mark.parametrize("annotation", [str, "str", "OnlyForCheckers", "SecretAgent", "list[str]", 3])
    def test_other_annotations_mark_nothing(self, annotation: Any) -> None:
        def task(word):  # type: ignore[no-untyped-def]
            pass

        task.__annotations__ = {"word": annotation}
        assert marks_of(task, "t") is None

    def test_a_name_marks_as_an_annotation_does(self) -> None:
        def task(user: str, word: str, **more: str) -> None: ...

        marks = marks_of(task, "t", ("word", "pin"))
        assert marks is not None
        assert (marks.at(0), marks.at(1), marks.of("word"), marks.of("pin")) == (False, True, True, True)
        assert not marks.of("other")

    def test_stars_mark_all_that_they_take(self) -> None:
        def task(user: str, *words: Secret[str], loud: bool = False, **more: Secret[str]) -> None: ...

        marks = marks_of(task, "t")
        assert marks is not None
        assert [marks.at(place) for place in range(4)] == [False, True, True, True]
        assert (marks.of("any"), marks.of("user"), marks.of("loud")) == (True, False, False)

    def test_a_name_that_is_no_parameter_is_an_error(self) -> None:
        app = Talo("misspelt", set_as_current=False)
        with pytest.raises(ImproperlyConfigured, match=r"secret names 'pasword'.*user, password"):

            @app.task(shared=False, secret="pasword")
            def task(user: str, password: str) -> None: ...

    def test_an_alias_that_is_defined_below_the_task_counts(self, talo_app: Talo) -> None:
        space: dict[str, Any] = {"app": talo_app, "Secret": Secret}
        exec(
            "from __future__ import annotations\n"
            "@app.task(shared=False, name='early')\ndef early(word: Word) -> None: ...\nWord = Secret[str]\n",
            space,
        )
        talo_app.finalize()
        assert "early" in talo_app.secrets.marks


Password = Secret[str]

# -- sealing


class TestSealing:
    @pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
    def test_the_message_holds_no_secret_and_the_function_gets_it(
        self, talo_app: Talo, run_all: Callable[[], int], serializer: str
    ) -> None:
        # Given
        talo_app.conf.accept_content = ["json", serializer]
        log_in = log_in_of(talo_app)
        # When
        result = log_in.apply_async(("ada", WORD), {"pin": 4711}, serializer=serializer)
        # Then
        [message] = talo_app.store.broker.peek("celery", 10)
        assert WORD.encode() not in message.body and b"4711" not in message.body
        assert message.headers["argsrepr"] == "('ada', <secret>)"
        assert message.headers["kwargsrepr"] == "{'pin': <secret>}"
        run_all()
        assert result.get() == f"ada {WORD} 4711"

    def test_a_call_that_was_sealed_by_hand_is_opened_too(self, talo_app: Talo, run_all: Callable[[], int]) -> None:
        log_in_of(talo_app)
        by_name = Talo("other", secret_keys=[KEY], set_as_current=False)
        message = by_name.prepare("log_in", ("ada", by_name.seal(WORD)), {}, {})
        assert WORD not in texts(message)
        talo_app.store.broker.send([message])
        run_all()
        assert talo_app.AsyncResult(str(message.id)).get() == f"ada {WORD} None"

    def test_what_comes_in_clear_is_sealed_at_arrival(self, talo_app: Talo, run_all: Callable[[], int]) -> None:
        # Given a sender that knows no marks
        seen: list[str] = []

        @talo_app.task(shared=False, name="log_in", bind=True)
        def log_in(self: Any, word: Secret[str]) -> str:
            seen.append(f"{self.request!r} {self.request.args} {self.request.argsrepr}")
            return word.upper()

        message = Talo("stranger", set_as_current=False).prepare("log_in", (WORD,), {}, {})
        assert WORD in texts(message)
        # When
        talo_app.store.broker.send([message])
        run_all()
        # Then
        assert talo_app.AsyncResult(str(message.id)).get() == WORD.upper()
        assert MASK in seen[0] and WORD not in seen[0]

    def test_every_step_of_a_workflow_is_sealed(self, talo_app: Talo, run_all: Callable[[], int]) -> None:
        log_in = log_in_of(talo_app)

        @talo_app.task(shared=False, name="both")
        def both(results: list[str], word: Secret[str]) -> list[str]:
            return [*results, word]

        header = group(log_in.s("ada", WORD), chain(log_in.s("eve", WORD), log_in.s(WORD)))
        whole = chord(header, both.s(WORD))
        assert WORD not in f"{whole!r} {header!r}"
        result = whole.apply_async()
        waiting = "".join(map(texts, talo_app.store.broker.peek("celery", 10)))
        assert WORD not in waiting and PREFIX in waiting
        run_all()
        assert result.get()[-1] == WORD

    @pytest.mark.parametrize("many", ["map", "starmap", "chunks"])
    def test_the_items_of_many_calls_are_sealed(self, talo_app: Talo, run_all: Callable[[], int], many: str) -> None:
        @talo_app.task(shared=False, name="shout")
        def shout(word: Secret[str]) -> str:
            return word.upper()

        items = [WORD, "battery staple"] if many == "map" else [(WORD,), ("battery staple",)]
        whole = shout.chunks(items, 2) if many == "chunks" else getattr(shout, many)(items)
        assert WORD not in repr(whole)
        result = whole.apply_async()
        assert WORD not in "".join(map(texts, talo_app.store.broker.peek("celery", 10)))
        run_all()
        found = result.get()
        assert (found[0] if many == "chunks" else found) == [WORD.upper(), "BATTERY STAPLE"]

    def test_a_signature_among_arguments_is_sealed(self, talo_app: Talo) -> None:
        log_in = log_in_of(talo_app)
        message = talo_app.prepare("any", ({"then": [log_in.si("ada", WORD)]},), {"other": dict(log_in.s(WORD))}, {})
        assert WORD not in texts(message)

    def test_a_signature_by_name_hides_what_its_task_marks(self, talo_app: Talo) -> None:
        log_in_of(talo_app)
        shown = repr(signature("log_in", ("ada", WORD), immutable=True, app=talo_app))
        assert shown == "log_in('ada', <secret>)"

    def test_nothing_is_sealed_twice(self, talo_app: Talo) -> None:
        log_in_of(talo_app)
        once = talo_app.secrets.call("log_in", ("ada", WORD), {})
        assert talo_app.secrets.call("log_in", *once) == once

    def test_tasks_without_marks_are_left_alone(self, talo_app: Talo) -> None:
        log_in_of(talo_app)
        value = ({"a": [1, (2, 3)]}, ["x"])
        args, kwargs = talo_app.secrets.call("plain", value, {"b": value})
        assert args is value and kwargs["b"] is value

    def test_what_json_cannot_write_is_told_without_the_value(self, talo_app: Talo) -> None:
        log_in = log_in_of(talo_app)
        with pytest.raises(EncodeError, match=r"log_in.*Exception") as told:
            log_in.delay("ada", Exception(WORD))
        assert WORD not in str(told.value)

    def test_arguments_that_are_no_list_are_not_shown(self, talo_app: Talo) -> None:
        log_in = log_in_of(talo_app)
        with pytest.raises(TypeError) as told:
            log_in.apply_async(WORD)
        assert WORD not in str(told.value)


# -- keys


class TestKeys:
    def test_without_a_key_nothing_is_sent(self) -> None:
        app = Talo("keyless", broker="memory://keyless", set_as_current=False)
        log_in = log_in_of(app)
        with pytest.raises(ImproperlyConfigured, match=r"task log_in .*secret_keys.*token_urlsafe"):
            log_in.delay("ada", WORD)
        assert log_in("ada", WORD) == f"ada {WORD} None"
        with pytest.raises(ImproperlyConfigured, match="secret_keys"):
            app.secrets.ready()

    def test_an_app_without_secrets_needs_no_key(self) -> None:
        Talo("plain", set_as_current=False).secrets.ready()

    def test_the_first_key_seals_and_all_open(self) -> None:
        old, new = "o" * 32, "n" * 32
        sealed = Keyring([old]).seal(WORD, "t", False)
        assert Keyring([new, old]).open(sealed, "t", True) == WORD
        assert Keyring([new]).open(Keyring([new, old]).seal(WORD, "t", False), "t", True) == WORD

    @pytest.mark.parametrize("keys", [["n" * 32], ["n" * 32, "m" * 32]])
    def test_another_key_does_not_open(self, keys: list[str]) -> None:
        with pytest.raises(SealError, match="none of this app's secret_keys"):
            Keyring(keys).open(Keyring(["o" * 32]).seal(WORD, "t", False), "t", True)

    def test_an_altered_text_is_not_opened(self) -> None:
        ring = Keyring([KEY])
        sealed = ring.seal(WORD, "t", False)
        with pytest.raises(SealError):
            ring.open(sealed[:-6] + "AAAA==", "t", True)

    @pytest.mark.parametrize(
        ("task", "anywhere", "secret", "opens"),
        [
            ("t", False, True, True),
            ("t", False, False, False),  # moved to an argument that everybody sees
            ("t", True, False, True),
            (None, False, True, True),
            (None, False, False, False),
            ("other", False, True, False),
            ("other", True, True, False),
        ],
    )
    def test_a_sealed_value_opens_where_it_belongs_only(
        self, task: str | None, anywhere: bool, secret: bool, opens: bool
    ) -> None:
        ring = Keyring([KEY])
        sealed = ring.seal(WORD, task, anywhere)
        if opens:
            assert ring.open(sealed, "t", secret) == WORD
        else:
            with pytest.raises(SealError, match="was sealed for"):
                ring.open(sealed, "t", secret)

    def test_a_key_that_can_be_guessed_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="16 characters"):
            Keyring(["hunter2"])

    def test_a_worker_with_another_key_leaves_a_dead_letter_that_says_so(
        self, talo_app: Talo, run_all: Callable[[], int]
    ) -> None:
        # Given
        log_in = log_in_of(talo_app)
        result = log_in.delay("ada", WORD)
        # When
        talo_app.conf.secret_keys = ["another key of sixteen characters"]
        run_all()
        # Then
        [letter] = talo_app.store.broker.dead()
        assert "none of this app's secret_keys" in letter.death.text
        # And the replay has it, once the key is there
        talo_app.conf.secret_keys = ["another key of sixteen characters", KEY]
        [run] = DeadLetters.of(talo_app).replay([letter.id])
        run_all()
        assert talo_app.AsyncResult(str(run.task_id)).get() == f"ada {WORD} None"
        assert result.state == "FAILURE"


# -- exceptions


class _Own(Exception):
    def __init__(self, word: str) -> None:
        super().__init__("own")
        self.word = word

    def __str__(self) -> str:
        return f"own {self.word}"


def _cause(word: str) -> BaseException:
    try:
        try:
            raise KeyError(word)
        except KeyError as exc:
            raise RuntimeError("behind") from exc
    except RuntimeError as exc:
        return exc


def _noted(word: str) -> BaseException:
    exc = ValueError("see the note")
    exc.add_note(f"it was {word}")
    return exc


class TestExceptions:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (lambda word: ValueError(f"bad {word}"), ValueError),
            (lambda word: KeyError(word), KeyError),
            (lambda word: ValueError({"given": [word]}), ValueError),
            (lambda word: _Own(word), _Own),
            (_cause, RuntimeError),
            (_noted, ValueError),
            (lambda word: ExceptionGroup("all", [ValueError(word)]), ExceptionGroup),
            (lambda word: ValueError(word.encode()), ValueError),
            # Its text is made of what no Python code can change.
            (lambda word: FileNotFoundError(2, "no such file", word), SealError),
        ],
    )
    def test_they_lose_the_secret(
        self,
        talo_app: Talo,
        run_all: Callable[[], int],
        caplog: pytest.LogCaptureFixture,
        fault: Callable[[str], BaseException],
        kind: type[BaseException],
    ) -> None:
        # Given
        seen: list[Any] = []

        @talo_app.task(shared=False, name="refuse")
        def refuse(word: Secret[str]) -> None:
            raise fault(word)

        refuse.on_failure = lambda exc, task_id, args, kwargs, einfo: seen.append((exc, args, einfo))
        # When
        result = refuse.delay(WORD)
        run_all()
        # Then nobody is told
        [(exc, args, einfo)] = seen
        assert type(exc) is kind
        letters = talo_app.store.broker.dead()
        shown = [exc, str(exc), args, einfo.traceback, caplog.text, letters[0].death, result.traceback]
        assert WORD not in repr(shown)
        # And the frames have no variables that a tracker could send
        frame = einfo.tb
        while frame is not None:
            assert WORD not in repr(frame.tb_frame.f_locals)
            frame = frame.tb_next

    def test_the_traceback_begins_at_the_function(self, talo_app: Talo, run_all: Callable[[], int]) -> None:
        @talo_app.task(shared=False, name="refuse")
        def refuse(word: Secret[str]) -> None:
            raise ValueError("no")

        result = refuse.delay(WORD)
        run_all()
        assert result.traceback.splitlines()[1].endswith("in refuse")

    def test_a_retry_tells_no_reason_that_holds_it(
        self, talo_app: Talo, run_all: Callable[[], int], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "talo.task")

        @talo_app.task(shared=False, name="again", bind=True)
        def again(self: Any, word: Secret[str], loud: bool = False) -> str:
            if self.request.retries == 0:
                raise self.retry(exc=ValueError(word), countdown=0)
            if self.request.retries == 1:
                self.retry(exc=ValueError(word), args=(word, True), countdown=0, throw=False)
            return word.upper() if loud else word

        result = again.delay(WORD)
        run_all()
        assert result.get() == WORD.upper()
        assert caplog.text.count("retry") >= 2
        assert WORD not in caplog.text

    def test_a_plain_call_is_a_plain_call(self, talo_app: Talo) -> None:
        @talo_app.task(shared=False, name="refuse")
        def refuse(word: Secret[str]) -> None:
            raise ValueError(word)

        with pytest.raises(ValueError, match=WORD):
            refuse(WORD)


# -- showing and editing


def test_a_sealed_value_shows_nothing_however_long_it_is() -> None:
    sealed = Sealed(PREFIX + "x" * 3000)
    assert saferepr([sealed, {"a": sealed}], maxlen=60) == "[<secret>, {'a': <secret>}]"
    assert pickle.loads(pickle.dumps(sealed)) == str(sealed)
    assert type(pickle.loads(pickle.dumps(sealed))) is str


def test_what_was_masked_is_what_stays_when_the_mask_is_left_standing() -> None:
    old = ["ada", Sealed(PREFIX + "1"), {"deep": Sealed(PREFIX + "2")}]
    shown = json.loads(json.dumps(masked(old)))
    assert shown == ["ada", MASK, {"deep": MASK}]
    assert unmasked(shown, old) == old
    assert unmasked(["eve", MASK, {"deep": "new"}, MASK], old) == ["eve", old[1], {"deep": "new"}, MASK]


def test_an_edited_letter_keeps_or_replaces_its_secret(talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given a dead letter
    @talo_app.task(shared=False, name="log_in")
    def log_in(user: str, word: Secret[str]) -> str:
        if user == "nobody":
            raise LookupError(user)
        return f"{user} {word}"

    def bury() -> str:
        log_in.delay("nobody", WORD)
        run_all()
        return talo_app.store.broker.dead()[0].id

    letters = DeadLetters.of(talo_app)
    # When its user alone is edited, and when its secret is
    kept = letters.replay_edited(bury(), args=["ada", MASK])
    new = letters.replay_edited(bury(), args=["ada", "battery staple"])
    # Then
    waiting = talo_app.store.broker.peek("celery", 10)
    assert "battery staple" not in "".join(map(texts, waiting))
    assert {message.headers["argsrepr"] for message in waiting} == {"('ada', <secret>)"}
    run_all()
    results = [talo_app.AsyncResult(str(run.task_id)).get() for run in (kept, new)]
    assert results == [f"ada {WORD}", "ada battery staple"]


def test_a_retry_keeps_the_bytes_of_the_first_sending(talo_app: Talo) -> None:
    @talo_app.task(shared=False, name="again", bind=True)
    def again(self: Any, word: Secret[str]) -> None:
        raise self.retry(countdown=60)

    again.delay(WORD)
    [first] = talo_app.store.broker.peek("celery", 1)
    LocalWorker(talo_app).run_all()
    [second] = talo_app.store.broker.peek("celery", 1, delayed=True)
    assert second.body == first.body and second.headers["argsrepr"] == "(<secret>,)"
    assert decode(second, frozenset({"application/json"})).retries == 1


def test_a_circle_of_links_is_refused_before_anything_is_sent(talo_app: Talo) -> None:
    # Given an app with a secret task, and two of its calls, each of which is linked to the other
    log_in = log_in_of(talo_app)
    one, two = log_in.s("ann", WORD), log_in.s("bob", WORD)
    one.options["link"], two.options["link"] = [two], [one]
    # Then it is refused
    with pytest.raises(EncodeError, match="refers to itself"):
        one.apply_async()
