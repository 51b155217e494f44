"""What the figures must show: the promises about speed, line by line.

Owns the bounds and how they are judged; the figures are those of results.json, medians. What they are called, and
which way is better, stands in ``bench.measures``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.measures import MEASURES, Figure

__all__ = ["BOUNDS", "Bound", "broken"]

#: As in results.json: measure, peer, figure, its median and its values.
Measures = Mapping[str, Mapping[str, Any]]

#: No-op tasks a second that Celery's prefork drains from Redis on the reference machine.
REFERENCE = 1_042


@dataclass(frozen=True)
class Bound:
    """Talo's figure is as good as ``value``, in the figure's unit; with ``to`` so many times as good as that peer's,
    with ``to="best"`` as the best other's."""

    promise: str
    measure: str
    figure: str
    value: float
    to: str = ""
    #: A rate of the reference machine; one measured elsewhere is taken for as many times Celery's drain there.
    there: bool = False

    def found(self, measures: Measures) -> float | None:
        """What was measured, comparable with ``value``; None: this, or whom it is compared with, was not."""
        figure = self.what()
        medians = _medians(measures, self.measure, figure.key)
        talo = medians.pop("talo", None)
        if self.there:
            celery = _medians(measures, "drain", "rate").get("celery")
            return None if talo is None or celery is None else talo * REFERENCE / celery
        if not self.to or talo is None:
            return talo
        others = [medians[self.to]] if self.to in medians else medians.values() if self.to == "best" else []
        ratios = [talo / other if figure.more_is_better else other / talo for other in others]
        return min(ratios, default=None)

    def holds(self, found: float) -> bool:
        """Whether what was found keeps it."""
        return found >= self.value if self.to or self.what().more_is_better else found <= self.value

    def what(self) -> Figure:
        """The figure it speaks of."""
        return next(figure for figure in MEASURES[self.measure].figures if figure.key == self.figure)


def _medians(measures: Measures, measure: str, figure: str) -> dict[str, float]:
    """One figure, by peer."""
    return {peer: figures[figure]["median"] for peer, figures in measures.get(measure, {}).items() if figure in figures}


#: Rates are tasks a second, latencies microseconds. A hundred thousand in 3, 5 and 6 s are rates, too.
BOUNDS = (
    Bound("P01", "latency", "start_p50", 500),
    Bound("P01", "latency", "result_p50", 800),
    Bound("P01", "postgres-wake", "start_p50", 5_000),
    Bound("P01", "sqlite-wake", "start_p50", 5_000),
    Bound("P02", "drain", "rate", 30, to="celery"),
    Bound("P02", "drain", "rate", 2.5, to="best"),
    Bound("P02", "drain-results", "rate", 22, to="celery"),
    Bound("P02", "drain-results", "rate", 4, to="best"),
    Bound("P02", "sqlite", "rate", 3.5, to="huey"),
    Bound("P02", "postgres", "rate", 10_000),
    Bound("P02", "postgres", "rate", 20, to="procrastinate"),
    Bound("P02", "rabbitmq", "rate", 4, to="celery"),
    Bound("P02", "rabbitmq-results", "rate", 8, to="celery"),
    *(
        Bound("B10", f"{store}{way}", "rate", 100_000 / seconds, there=True)
        for store, seconds in (("", 3), ("postgres-", 5), ("rabbitmq-", 6))
        for way in ("bulk", "group")
    ),
)


def broken(measures: Measures, *promises: str) -> Iterator[str]:
    """What does not hold, a line each; of all bounds, or of those of ``promises`` only. What was not measured does
    not hold."""
    for bound in BOUNDS:
        if promises and bound.promise not in promises:
            continue
        found = bound.found(measures)
        if found is None or not bound.holds(found):
            figure, against = bound.what(), f" × {bound.to}" if bound.to else ""
            title = ", ".join(filter(None, [MEASURES[bound.measure].title, figure.title]))
            measured = "not measured" if found is None else f"{found:.4g}"
            yield f"{bound.promise}: {title}: {measured}, promised {bound.value:.4g}{against or ' ' + figure.unit}"
