"""``talo dashboard``: what it refuses, what it makes, and that it serves and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from talo.cli.main import talo
from talo.stores.history import RunQuery
from talo.web import Access
from tests.web.support import dead, ended, shop
from tests.workers import ROOT


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "tasks.example.com", "127.0.0.1.example.com", ""])
@pytest.mark.promise("X04")
def test_an_open_dashboard_is_refused_where_others_can_reach_it(host: str) -> None:
    done = CliRunner().invoke(talo, ["-b", "memory://", "dashboard", "--host", host, "-p", "0"])
    assert done.exit_code == 2
    assert "nobody has to log in" in done.output and "--auth" in done.output


def test_an_access_file_that_lets_nobody_in_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    path.write_text("")
    done = CliRunner().invoke(talo, ["-b", "memory://", "dashboard", "--auth", str(path), "-p", "0"])
    assert done.exit_code != 0 and "lets nobody in" in str(done.exception)


def test_what_it_makes_can_be_read_and_opens(tmp_path: Path) -> None:
    runner = CliRunner()
    password = runner.invoke(talo, ["dashboard", "--make-password", "ada lovelace"], input="s3cret\ns3cret\n")
    token = runner.invoke(talo, ["dashboard", "--make-token", "ci"])
    path = tmp_path / "access.toml"
    path.write_text(f"{password.stdout}\n{token.stdout}".replace('role = "viewer"', 'role = "admin"', 1))
    access = Access.read(path)
    ada = access.by_password("ada lovelace", "s3cret")
    assert ada is not None and str(ada.role) == "admin"
    assert access.by_password("ada lovelace", "S3cret") is None
    ci = access.by_token(token.stderr.split()[-1])
    assert ci is not None and (ci.name, str(ci.role)) == ("ci", "viewer")


def test_it_serves_with_a_password_on_every_address_and_stops(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "TALO_BROKER_URL": f"sqlite:///{tmp_path}/talo.sqlite3",
        "TALO_DASHBOARD_PASSWORD": "open sesame",
    }
    command = [sys.executable, "-m", "talo", "dashboard", "--host", "0.0.0.0", "-p", "0"]
    process = subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = process.stdout.readline().strip().rstrip("/").rpartition(":")[2]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30)
    assert refused.value.code == 401
    assert "uvicorn" not in str(refused.value.headers).lower()
    refused.value.close()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/static/talo.css", timeout=30) as style:
        assert style.status == 200
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert "open sesame" not in out + err and "Traceback" not in err


def test_what_a_page_can_do_a_command_can(tmp_path: Path) -> None:
    # Given a dead letter and records of two queues
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    app = shop(broker)
    [task_id] = dead(app)
    ended(app, 3, queue="old")
    ended(app, 2, queue="new", id="kept")
    runner = CliRunner()
    # When it is edited and replayed, and the records of one queue are forgotten
    edited = runner.invoke(talo, ["-b", broker, "dead", "edit", task_id, "-a", "[40, 2]", "--to-queue", "fresh"])
    refused = runner.invoke(talo, ["-b", broker, "forget", "--queue", "old"], input="n\n")
    forgotten = runner.invoke(talo, ["-b", broker, "forget", "--queue", "old", "-f"])
    # Then so it is
    assert edited.exit_code == 0 and refused.exit_code != 0
    [message] = app.store.broker.peek("fresh", 10)
    assert (message.headers["argsrepr"], message.headers["replay_of"]) == ("(40, 2)", task_id)
    assert edited.output.split() == [edited.output.split()[0], task_id, message.id]
    assert "Delete 3 records" in refused.output and forgotten.output == "Forgot 3 records.\n"
    assert app.store.history is not None
    assert app.store.history.count(RunQuery()) == {"SUCCESS": 2}
    app.close()
