"""Whom SQS lets in and what it refuses: credentials from where AWS's programs find them, and each refusal in one line
that names cause and mend and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from talo.errors import TaloError
from tests.chaos.kit import check
from tests.servers.sqs import SqsServer
from tests.support import eventually
from tests.workers import ROOT, Worker, client

TASK = "tests.apps.traced.noop"
#: Nothing of this machine's own.
BARE = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_PROFILE": "",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


def options_of(server: SqsServer, tmp: Path, **more: Any) -> dict[str, Any]:
    return {"region": "us-east-1", "endpoint_url": server.endpoint, "ledger": str(tmp / "ledger"), **more}


def call(tmp: Path, url: str, options: dict[str, Any], env: dict[str, str]) -> str:
    """What ``talo call`` says when it fails."""
    env = {
        **os.environ,
        **BARE,
        **env,
        "TALO_BROKER_URL": url,
        "TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(options),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    env = {name: value for name, value in env.items() if value}
    words = [sys.executable, "-m", "talo", "-A", "tests.apps.traced", "call", TASK]
    done = subprocess.run(words, env=env, cwd=tmp, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "canary" not in done.stderr
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("place", ["environment", "profile", "process"])
def test_credentials_are_those_of_the_usual_chain(own_sqs: SqsServer, tmp_path: Path, place: str) -> None:
    # Given keys in one of the places where programs of AWS look, which may do everything but one thing
    key, secret = f"no-{'GetQueueUrl' if place == 'profile' else 'CreateQueue'}", "canary"
    file = tmp_path / "file"
    if place == "environment":
        env = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    elif place == "profile":
        file.write_text(f"[shop]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        env = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "shop"}
    else:
        # As a role's keys are handed out.
        keys = tmp_path / "keys"
        keys.write_text(json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret}))
        file.write_text(f"[default]\ncredential_process = cat {keys}\n")
        env = {"AWS_CONFIG_FILE": str(file)}
    # Then it is they who are told what they may not
    assert f"refuses {key[3:]} (AccessDenied)" in call(tmp_path, "sqs://", options_of(own_sqs, tmp_path), env)


def test_who_has_no_credentials_is_told_where_they_may_stand(own_sqs: SqsServer, tmp_path: Path) -> None:
    said = call(tmp_path, "sqs://", options_of(own_sqs, tmp_path), {})
    assert "give the machine a role, set AWS_ACCESS_KEY_ID" in said


@pytest.mark.parametrize(
    ("key", "region", "said"),
    [
        ("AKIANOBODY", "us-east-1", "refuses GetQueueUrl (InvalidClientTokenId): the access key, its secret or"),
        ("key", "eu-west-1", "the region is not that of the endpoint"),
        ("no-CreateQueue", "us-east-1", "there is no queue new, and it may not be created"),
        ("no-SendMessage", "us-east-1", "refuses SendMessageBatch (AccessDenied): allow it in the policy"),
    ],
)
def test_a_refusal_names_cause_and_mend(own_sqs: SqsServer, tmp_path: Path, key: str, region: str, said: str) -> None:
    options = options_of(own_sqs, tmp_path)
    with client("sqs://key:secret@", broker_transport_options=options) as app:
        app.send_task(TASK)
    options["region"] = region
    with client(f"sqs://{key}:canary@", broker_transport_options=options) as app, pytest.raises(TaloError) as refused:
        app.send_task(TASK, queue="new" if key == "no-CreateQueue" else "celery")
    text = str(refused.value)
    assert said in text
    assert "canary" not in text
    assert "\n" not in text


def test_a_predefined_queue_that_is_not_there_is_named(own_sqs: SqsServer, tmp_path: Path) -> None:
    url = f"{own_sqs.endpoint}/123456789012/gone"
    options = options_of(own_sqs, tmp_path, predefined_queues={"celery": {"url": url}})
    with client("sqs://key:secret@", broker_transport_options=options) as app:
        with pytest.raises(TaloError, match=f"no queue {url}, which predefined_queues calls celery: create it"):
            app.send_task(TASK)


def test_a_worker_that_may_not_receive_says_so_once(own_sqs: SqsServer, tmp_path: Path) -> None:
    # Given keys that stand in a file, and may not receive
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = no-ReceiveMessage\naws_secret_access_key = canary\n")
    env = {
        **BARE,
        "AWS_SHARED_CREDENTIALS_FILE": str(keys),
        "TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(options_of(own_sqs, tmp_path)),
    }
    env |= {"AWS_PROFILE": "default"}
    results = f"sqlite:///{tmp_path}/results.sqlite3"
    with Worker("sqs://", tmp_path, "-c", "1", results=results, env=env) as worker:
        # When it has tried often
        eventually(lambda: check(own_sqs.requests()["ReceiveMessage"] >= 6), 60)
        # Then its log says it once
        said = worker.output()
        assert said.count("refuses ReceiveMessage (AccessDenied)") == 1
        assert "The store is back" not in said
        assert "canary" not in said
