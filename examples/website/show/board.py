"""What the demo shows: bars while the work is done, and at the end what came of it."""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table


class Kind(enum.Enum):
    """The kinds of work; the value is what the tables say."""

    PHOTO = "resize a photo"
    LETTER = "send the newsletter"
    REPORT = "write a PDF report"
    RATE = "ask a slow service"
    REMINDER = "remind later"


@dataclass
class Work:
    """What one visit handed off."""

    kind: Kind
    tasks: list[str]
    #: How long the visitor waited for the answer.
    answered: float


class Board:
    """Follows the tasks of all visits; shows a bar for each kind, or plain lines where there is no terminal."""

    def __init__(self, console: Console, works: Iterable[Work]) -> None:
        self.works = list(works)
        self.results: dict[str, dict[str, Any]] = {}
        self._console = console
        self._states: dict[str, Mapping[str, Any]] = {}
        self._kinds = {task: work.kind for work in self.works for task in work.tasks}
        self._said = time.monotonic()
        columns = (TextColumn("  {task.description:<22}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._bars: dict[Kind, TaskID] = {}

    def __enter__(self) -> Board:
        self._progress.start()
        for kind in Kind:
            if total := sum(len(work.tasks) for work in self.works if work.kind is kind):
                self._bars[kind] = self._progress.add_task(kind.value, total=total)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def waiting(self) -> list[str]:
        """The tasks that have not ended."""
        return [task for task in self._kinds if task not in self._states]

    def failed(self) -> list[str]:
        """What the failed ones say."""
        return [
            f"{self._kinds[task].value}: {state['error']}"
            for task, state in self._states.items()
            if state["state"] == "FAILURE"
        ]

    def update(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Take in what the site says."""
        for task, state in states.items():
            if state["state"] in ("SUCCESS", "FAILURE"):
                self._states[task] = state
                self.results[task] = dict(state.get("result") or {})
                self._progress.advance(self._bars[self._kinds[task]])
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._said > 2 or not self.waiting()):
            self._said = now
            self._console.print(f"  {len(self._states)} of {len(self._kinds)} tasks done")

    def of(self, kind: Kind) -> tuple[list[Work], list[dict[str, Any]]]:
        """The visits of a kind, and the results of their tasks."""
        works = [work for work in self.works if work.kind is kind]
        return works, [self.results[task] for work in works for task in work.tasks]


def summary(console: Console, board: Board, folder: Path) -> dict[str, Any]:
    """Print what came of it; return the figures."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("", "tasks", "answered in", "work each"):
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    table.add_column("what came out", overflow="fold")
    figures: dict[str, Any] = {}
    for kind in Kind:
        works, results = board.of(kind)
        if results:
            answered, worked = median(work.answered for work in works), median(result["seconds"] for result in results)
            said = outcome(kind, results, folder)
            table.add_row(kind.value, str(len(results)), f"{answered * 1000:,.0f} ms", f"{worked * 1000:,.0f} ms", said)
            figures[kind.name.lower()] = {
                "tasks": len(results),
                "answered": answered,
                "worked": worked,
                "outcome": said,
            }
    answers = [work.answered for work in board.works]
    total = sum(result["seconds"] for result in board.results.values())
    figures["all"] = {"visits": len(answers), "answered": median(answers), "slowest": max(answers), "worked": total}
    console.print()
    console.print(table)
    console.print(
        f"\n{len(answers)} visits were answered in [bold]{median(answers) * 1000:,.0f} ms[/] (median; slowest "
        f"{max(answers) * 1000:,.0f} ms), with [bold]{total:,.1f} s[/] of work behind them."
    )
    for pattern in ("media/sizes/*-640.jpg", "media/reports/*.pdf", "mail/*.log"):
        if found := sorted(folder.glob(pattern)):
            console.print(f"  look at {found[-1]}")
    return figures


def outcome(kind: Kind, results: list[dict[str, Any]], folder: Path) -> str:
    """What the tasks of a kind left behind, as found on the disk and in their results."""
    if kind in (Kind.PHOTO, Kind.REPORT):
        files = [folder / "media" / name for result in results for name in result["files"]]
        size = sum(file.stat().st_size for file in files) / 1e6
        what = f"PDFs, {sum(result['pages'] for result in results)} pages" if kind is Kind.REPORT else "pictures"
        return f"{len(files)} {what}, {size:.1f} MB"
    if kind is Kind.LETTER:
        mails = "".join(file.read_text(encoding="utf-8") for file in (folder / "mail").glob("*.log"))
        return f"{sum('To: ' + result['to'] + chr(10) in mails for result in results)} mails"
    if kind is Kind.RATE:
        again = sum(result["attempts"] > 1 for result in results)
        return f"{len(results)} rates, {again} after a retry"
    return f"1 mail, {results[0]['late'] * 1000:,.0f} ms late"
