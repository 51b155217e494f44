"""The demo: a small website hands off its slow work, and you watch it being done. Run by ``make demo``.

It starts a worker, the site and a slow service that the site depends on, visits the site like a crowd of people, and
shows what came of it. Everything it writes goes to one folder. ``KEEP=1`` leaves site and worker up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from show.board import Board, Kind, Work, summary
from show.pictures import photo
from show.processes import DemoError, Process
from show.visitor import Visitor

HERE = Path(__file__).resolve().parent
CURRENCIES = "EUR USD JPY GBP CHF SEK NOK DKK PLN CZK TRY BRL".split()
#: Visitors who are on the site at the same time.
CROWD = 8
#: Seconds after which the demo gives up.
DEADLINE = 180.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A small website hands off its slow work to Talo.")
    parser.add_argument("--folder", type=Path, default=HERE.parents[1] / ".demo", help="where everything is written")
    parser.add_argument("--photos", type=int, default=24, help="photos to upload (default: 24)")
    parser.add_argument("--mails", type=int, default=200, help="customers who get the newsletter (default: 200)")
    parser.add_argument("--reports", type=int, default=3, choices=range(4), help="PDF reports to order (default: 3)")
    parser.add_argument(
        "--rates", type=int, default=8, choices=range(len(CURRENCIES) + 1), help="rates to ask for (default: 8)"
    )
    parser.add_argument("--delay", type=float, default=8.0, help="seconds until the reminder (default: 8)")
    parser.add_argument("--slots", type=int, default=4, help="tasks that the worker runs at a time (default: 4)")
    return parser.parse_args()


class Stage:
    """The folder, the environment and the processes of one demo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.processes: list[Process] = []
        self._pids = self.folder / "pids"
        self.env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "website.settings",
            "WEBSITE_DATA": str(self.folder),
        }

    def clear(self) -> None:
        """An empty folder; DemoError if an earlier demo lives in it."""
        if self._pids.exists():
            alive = [pid for pid in self._pids.read_text().split() if self._is_ours(pid)]
            if alive:
                raise DemoError(f"an earlier demo is still up (KEEP=1); end it first: kill {' '.join(alive)}")
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise DemoError(f"{self.folder} is not empty and not a demo's folder; choose another one with --folder")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._pids.touch()

    def _is_ours(self, pid: str) -> bool:
        """Whether this process works in this folder: ids are given again, to processes that are not to be killed."""
        try:
            return f"WEBSITE_DATA={self.folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def migrate(self) -> None:
        command = [sys.executable, str(HERE / "manage.py"), "migrate", "--verbosity", "0"]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError("manage.py migrate failed:\n" + "\n".join(done.stderr.strip().splitlines()[-6:]))

    def start(self, name: str, *command: str, speaks: bool = False) -> Process:
        process = Process(name, command, self.folder, self.env, speaks=speaks)
        self.processes.append(process)
        self._pids.write_text(" ".join(str(each.pid) for each in self.processes))
        return process

    def check(self) -> None:
        for process in self.processes:
            process.check()

    def stop(self) -> None:
        """End everything, the worker first: the rest of what it does may need the others."""
        for process in reversed(self.processes):
            process.stop()
        self.processes.clear()


def talo_command() -> str:
    """The ``talo`` that belongs to this Python."""
    command = Path(sys.executable).parent / "talo"
    if not command.exists():
        raise DemoError(
            f"there is no talo command beside {sys.executable}: run this by `make demo`, or pip install talo"
        )
    return str(command)


def open_dashboard(stage: Stage) -> str:
    """Start the dashboard on a free port; return its address."""
    audit = str(stage.folder / "audit.jsonl")
    command = [talo_command(), "-A", "website", "dashboard", "--port", "0", "--audit", audit]
    return stage.start("dashboard", *command, speaks=True).first_line().split()[-1]


def visits(visitor: Visitor, options: argparse.Namespace, photos: list[bytes]) -> list[Work]:
    """Let a crowd visit the site; return what was handed off, in what time."""
    plans = [(Kind.LETTER, "/newsletter/", [("subject", "News from the office"), ("limit", str(options.mails))], None)]
    plans += [(Kind.REMINDER, "/reminders/", [("text", "Tea is ready"), ("seconds", str(options.delay))], None)]
    plans += [(Kind.REPORT, "/reports/", [("year", str(2025 - number))], None) for number in range(options.reports)]
    plans += [(Kind.RATE, "/rates/", [("currency", currency)], None) for currency in CURRENCIES[: options.rates]]
    uploads = [(Kind.PHOTO, "/photos/", [], number) for number in range(len(photos))]
    mixed = [*plans, *uploads]
    random.Random(1).shuffle(mixed)

    def visit(plan: tuple[Kind, str, list[tuple[str, str]], int | None]) -> Work:
        kind, path, fields, number = plan
        file = ("photo", f"photo-{number}.jpg", photos[number]) if number is not None else None
        answer, seconds = visitor.post(path, fields, file)
        return Work(kind, answer["tasks"], seconds)

    with ThreadPoolExecutor(CROWD) as crowd:
        return list(crowd.map(visit, mixed))


def follow(stage: Stage, visitor: Visitor, board: Board) -> None:
    """Ask the site what became of the tasks until all are done."""
    deadline = time.monotonic() + DEADLINE
    while waiting := board.waiting():
        stage.check()
        states, _ = visitor.post("/tasks/", [("id", task_id) for task_id in waiting])
        board.update(states)
        if time.monotonic() > deadline:
            raise DemoError(f"{len(waiting)} tasks are not done after {DEADLINE:.0f} s\n{stage.processes[-1].tail()}")
        time.sleep(0.2)
    if failed := board.failed():
        raise DemoError(f"{len(failed)} tasks failed: {failed[0]}\n{stage.processes[-1].tail()}")


def perform(stage: Stage, console: Console, options: argparse.Namespace) -> None:
    """The whole show."""
    began = time.monotonic()
    worker_command = [talo_command(), "-A", "website", "worker", "-l", "INFO", "-c", str(options.slots)]
    stage.clear()
    console.rule("[bold green]Talo: a website hands off its slow work[/]")
    console.print(f"No server to install: tasks and results live in {stage.folder / 'talo.sqlite3'}\n")
    with console.status(f"taking {options.photos} photos, making the site's database"), ProcessPoolExecutor() as pool:
        photos = pool.map(photo, range(options.photos))
        stage.migrate()
        uploads = list(photos)
    with console.status("starting a slow service, the site and a worker"):
        service = stage.start("service", sys.executable, str(HERE / "slow_api.py"), speaks=True)
        stage.env["WEBSITE_RATES_API"] = service.first_line()
        site = stage.start("site", sys.executable, str(HERE / "serve.py"), speaks=True)
        address = site.first_line()
        worker = stage.start("worker", *worker_command)
    console.print(f"  site    {address}  (pid {site.pid})")
    console.print(f"  worker  {' '.join(['talo', *worker_command[1:]])}  (pid {worker.pid})")
    dashboard = open_dashboard(stage) if os.environ.get("KEEP") else None
    if dashboard:
        console.print(f"  [bold]dashboard {dashboard}[/]")
    console.print()

    visitor = Visitor(address)
    with console.status(f"{CROWD} visitors upload photos, order reports, send the newsletter ..."):
        works = visits(visitor, options, uploads)
    with Board(console, works) as board:
        follow(stage, visitor, board)
    figures = summary(console, board, stage.folder)
    figures["pids"] = [process.pid for process in stage.processes]
    (stage.folder / "summary.json").write_text(json.dumps(figures, indent=1))

    if os.environ.get("KEEP"):
        pids = " ".join(str(process.pid) for process in reversed(stage.processes))
        stage.processes.clear()
        console.print(
            f"\nEverything stays up. The site: [bold]{address}[/]; the dashboard: [bold]{dashboard}[/]; "
            f"logs in {stage.folder}; end them with: kill {pids}"
        )
    else:
        stage.stop()
        console.print(f"\nAll processes have ended after {time.monotonic() - began:.0f} s.", end=" ")
        console.print("[dim]make demo KEEP=1 leaves the site up.[/]")


def main() -> int:
    console = Console(highlight=False, soft_wrap=True)
    options = arguments()
    stage = Stage(options.folder)
    # What ends the demo from outside ends all of it, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        perform(stage, console, options)
    except DemoError as error:
        console.print(f"[bold red]The demo failed:[/] {error}", markup=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    finally:
        stage.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
