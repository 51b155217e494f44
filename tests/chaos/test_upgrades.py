"""A rolling upgrade: workers of two releases on one store, one going as the other comes, and either dying at any time.

The other release is a tree of its own: an earlier state of this repository, and where it matters a later one, which is
this one with one more migration. Both send and both work.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.kit import HANGS, SEED, Judge, full, kill
from tests.workers import ROOT, Trace, Worker, client

#: A commit of this repository on whose stores this release must be able to work, and beside whose workers.
EARLIER = "8018866"
SIZE = full(100_000, 2_000)
#: How often a worker of one release is replaced by one of the other, to and fro.
TURNS = full(24, 3)
ENV = {"TALO_WORKER_LEASE": "3", "TALO_TASK_MAX_DELIVERIES": "50"}
#: What either release sends: simple calls with a callback, retries, delayed ones, chains, and chords.
SENDS = """
import json, sys
from talo import Talo, chain, chord
url, count = sys.argv[1], int(sys.argv[2])
name = "tests.apps.traced.{}".format
with Talo("client", broker=url, set_as_current=False) as app:
    def s(task, *args): return app.signature(name(task), args)
    ids = [r.id for r in app.send_many([(name("noop"), (), None, {}) for _ in range(count * 8 // 10)])]
    ids += [r.id for r in app.send_many([(name("noop"), (), None, {"countdown": n % 5}) for n in range(count // 10)])]
    ids += [r.id for r in app.send_many([(name("flaky"), (2,), None, {}) for _ in range(count // 25)])]
    for n in range(count // 50):
        ids.append(chain(s("add", n, 1), s("add", 1), s("add", 1)).apply_async().id)
    for n in range(count // 100):
        ids.append(chord([s("add", n, m) for m in range(4)], s("after")).apply_async().id)
print(json.dumps(ids))
"""


#: On a cluster the prefix stands in the URL, where the earlier release knows none.
REDIS_EARLIER = pytest.param("redis-earlier", marks=pytest.mark.one_server)
#: On which store beside which release: only tables know migrations.
PLACES = ["sqlite-earlier", REDIS_EARLIER, "postgres-earlier", "sqlite-later", "postgres-later"]


@pytest.fixture(params=full(PLACES, [*PLACES[:3], PLACES[4]]))
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A store and a release."""
    store, _, release = str(request.param).partition("-")
    return store, release


@pytest.fixture
def broker(request: pytest.FixtureRequest, place: tuple[str, str], tmp_path: Path) -> str:
    """The URL of an empty store."""
    if place[0] == "sqlite":
        return f"sqlite:///{tmp_path}/talo.sqlite3"
    return str(request.getfixturevalue(f"{place[0]}_url"))


@pytest.fixture
def trees(place: tuple[str, str], tmp_path: Path) -> dict[str, Path]:
    """Where the packages of the old release are, and those of the new one."""
    mine = ROOT / "src"
    if place[1] == "earlier":
        return {"old": earlier(tmp_path / "other"), "new": mine}
    return {"old": mine, "new": later(tmp_path / "other")}


def earlier(tree: Path) -> Path:
    """The release as it was; without the history of the repository this cannot be shown."""
    tree.mkdir()
    packed = subprocess.run(["git", "archive", EARLIER, "src"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"no history of the repository: {packed.stderr.decode().strip()}")
    subprocess.run(["tar", "-x"], cwd=tree, input=packed.stdout, check=True)
    return tree / "src"


def later(tree: Path) -> Path:
    """This release with a migration more."""
    shutil.copytree(ROOT / "src", tree, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (tree / "talo/stores/sql/migrations").iterdir():
        (folder / "0900_more.sql").write_text("CREATE TABLE talo_more (number integer PRIMARY KEY)")
    return tree


class Releases:
    """Two workers, each of either release, and clients of both."""

    def __init__(self, url: str, folder: Path, trees: dict[str, Path]) -> None:
        self._url, self._folder, self._trees = url, folder, trees
        self._numbers = itertools.count()
        self.workers: list[tuple[str, Worker]] = []
        self.traces = {release: Trace(folder / f"trace.{release}") for release in trees}

    def _path(self, release: str) -> str:
        return os.pathsep.join([str(self._trees[release]), str(ROOT)])

    def start(self, release: str) -> None:
        """One more worker of this release."""
        env = {**ENV, "PYTHONPATH": self._path(release), "TRACE": str(self.traces[release].path)}
        worker = Worker(self._url, self._folder, "-c", "2", name=f"{release}{next(self._numbers)}", env=env)
        self.workers.append((release, worker.start()))

    def replace(self, turn: int) -> None:
        """The worker that is there longest goes, told so or killed, while one of the other release comes."""
        release, worker = self.workers.pop(0)
        worker.signal(signal.SIGTERM if turn % 3 else signal.SIGKILL)
        self.start("old" if release == "new" else "new")
        worker.wait(60)
        worker.destroy()

    def send(self, release: str, count: int) -> list[str]:
        """Have a client of this release send; return the ids to ask for."""
        done = subprocess.run(
            [sys.executable, "-c", SENDS, self._url, str(count)], cwd=self._folder, text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": self._path(release)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def strike(self, rng: random.Random) -> None:
        """Kill any process of any worker's, not the supervisor."""
        found = [pid for _, worker in self.workers for pid in worker.descendants()]
        if found:
            kill(rng.choice(found))

    def __enter__(self) -> Releases:
        return self

    def __exit__(self, *exc: object) -> None:
        for _, worker in self.workers:
            worker.destroy()


@pytest.fixture
def releases(broker: str, trees: dict[str, Path], tmp_path: Path) -> Iterator[Releases]:
    """Both on one store."""
    with Releases(broker, tmp_path, trees) as releases:
        yield releases


@pytest.mark.promise("K13")
@pytest.mark.timeout(HANGS)
def test_two_releases_on_one_store_lose_nothing(broker: str, releases: Releases) -> None:
    rng = random.Random(SEED)
    # Given workers of the old release, on a store that it has made,
    releases.start("old")
    releases.start("old")
    ids = releases.send("old", SIZE // 4)
    # when they are replaced by the new one, and it by the old one again, while both send and processes are killed,
    for turn in range(TURNS):
        ids += releases.send("new" if turn % 2 else "old", SIZE * 3 // 4 // TURNS)
        releases.replace(turn)
        releases.strike(rng)
    # then each task ends well, as a client of this release sees it, whoever has run it, and nobody holds anything.
    with client(broker) as app:
        judge = Judge(app, releases.traces["new"], ids)
        judge.wait()
        assert judge.states() == {"SUCCESS": len(ids)}
        assert judge.dead() == []
        judge.nothing_is_left()
        for _, worker in releases.workers:
            assert worker.stop() == 0
    assert all(trace.count("end") for trace in releases.traces.values())
