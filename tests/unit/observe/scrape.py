"""Scraping a worker, as Prometheus does."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.support import eventually
from tests.workers import Worker


def address(worker: Worker) -> str:
    """Where a worker with ``--http 0`` answers; a new agent has a new port."""

    def told() -> str:
        found = re.findall(r"Health and metrics on (\S+)", worker.output())
        assert found
        return str(found[-1])

    return eventually(told, timeout=30)


def ask(worker: Worker, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(address(worker) + path, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()


class Scrape:
    """The samples of one scrape."""

    def __init__(self, worker: Worker) -> None:
        status, text = ask(worker, "/metrics")
        assert status == 200, text
        self.text = text
        self.samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    @property
    def names(self) -> set[str]:
        """Every name that a query may use."""
        return {sample.name for sample in self.samples}

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def labels(self, name: str) -> set[str]:
        """Every value of a label."""
        return {sample.labels[name] for sample in self.samples if name in sample.labels}
