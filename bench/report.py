"""The figures as people and programs read them: tables on the terminal, results.json, and the table in the README."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.lab import ROOT
from bench.measures import MEASURES, Figure, Measure

START, END = "<!-- bench:start -->", "<!-- bench:end -->"

#: measure -> peer -> one set of figures per repetition
Samples = Mapping[str, Mapping[str, list[dict[str, float]]]]


def number(value: float) -> str:
    """Three digits that matter."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.1f}"


def spread(values: list[float]) -> str:
    """The median, with the least and the most where there are several."""
    middle = number(median(values))
    return f"{middle} ({number(min(values))}–{number(max(values))})" if len(values) > 1 else middle


def show(
    console: Console, measure: Measure, samples: Mapping[str, list[dict[str, float]]], titles: Mapping[str, str]
) -> None:
    """Print one measure, every peer a line."""
    table = Table(title=measure.title, title_justify="left", title_style="bold")
    table.add_column("")
    for figure in measure.figures:
        table.add_column(" ".join(filter(None, [figure.title, figure.unit])), justify="right")
    for peer, runs in samples.items():
        cells = [spread([run[figure.key] for run in runs]) if runs else "–" for figure in measure.figures]
        table.add_row(titles[peer], *cells)
    console.print(table)


def document(
    samples: Samples, machine: Mapping[str, Any], versions: Mapping[str, str], repeat: int, when: str
) -> dict[str, Any]:
    """What stands in results.json: every single value, and the medians."""
    return {
        "when": when,
        "machine": dict(machine),
        "versions": dict(versions),
        "repeat": dict.fromkeys(samples, repeat),
        "measures": {
            name: {
                peer: {
                    figure.key: {"median": median(values), "values": values}
                    for figure in MEASURES[name].figures
                    if (values := [run[figure.key] for run in runs])
                }
                for peer, runs in peers.items()
            }
            for name, peers in samples.items()
        },
    }


def markdown(results: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """The table of the README: Talo, Celery, the best of the others, and the two ratios."""
    machine = results["machine"]
    versions = ", ".join(f"{titles.get(peer, peer)} {version}" for peer, version in results["versions"].items())
    lines = [
        "| measure | Talo | Celery | best other | to Celery | to the best |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, peers in results["measures"].items():
        measure = MEASURES[name]
        for figure in measure.figures:
            if figure.headline:
                lines.append(_row(measure, figure, peers, titles))
    lines += [
        "",
        f"{_repeats(results['repeat'])}, each measure with all its peers in one run ({results['when'][:10]}), on "
        f"{machine['cores']} cores of "
        f"{machine['cpu']}, {machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}. "
        f"Redis {machine['redis']} without persistence, PostgreSQL and RabbitMQ with theirs, on the same cores; two "
        f"worker processes each, in each library's own best configuration, logging at WARNING. {versions}. "
        "`make bench` repeats it.",
    ]
    return "\n".join(lines)


def _repeats(repeats: Mapping[str, int]) -> str:
    most = max(repeats.values(), default=0)
    fewer = [f"{name} {count}" for name, count in repeats.items() if count != most]
    return f"Medians of {most}" + (f" ({', '.join(fewer)})" if fewer else "")


def _row(measure: Measure, figure: Figure, peers: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    values = {peer: figures[figure.key]["median"] for peer, figures in peers.items() if figure.key in figures}
    best = max if figure.more_is_better else min
    others = {peer: value for peer, value in values.items() if peer != "talo"}
    rest = {peer: value for peer, value in others.items() if peer != "celery"}
    talo, celery = values.get("talo"), values.get("celery")
    winner = best(rest, key=lambda peer: rest[peer]) if rest else None
    cells = [
        ", ".join(filter(None, [measure.title, figure.title])) + (f" ({figure.unit})" if figure.unit else ""),
        f"**{number(talo)}**" if talo is not None else "–",
        number(celery) if celery is not None else "–",
        f"{number(rest[winner])} ({titles.get(winner, winner)})" if winner else "–",
        _ratio(figure, talo, celery),
        _ratio(figure, talo, best(others.values()) if others else None),
    ]
    return "| " + " | ".join(cells) + " |"


def _ratio(figure: Figure, talo: float | None, other: float | None) -> str:
    """How many times better; below one it is worse."""
    if talo is None or other is None or talo <= 0 or other <= 0:
        return "–"
    times = talo / other if figure.more_is_better else other / talo
    return f"{number(float(f'{times:.2g}'))} ×"


def write(results: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """Write bench/results.json and the README's table; return what was written."""
    path = ROOT / "bench/results.json"
    if path.exists():
        # What was measured before and not now stays.
        before = json.loads(path.read_text(encoding="utf-8"))
        joined = {key: {**before[key], **results[key]} for key in ("versions", "repeat", "measures")}
        results = {**results, **joined}
        results["measures"] = {name: joined["measures"][name] for name in MEASURES if name in joined["measures"]}
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [path.name, *publish(results, titles, ROOT / "README.md")]


def publish(results: Mapping[str, Any], titles: Mapping[str, str], readme: Path) -> list[str]:
    """Put the table between the markers of ``readme``; without markers leave it as it is."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not (start and end):
        return []
    readme.write_text(f"{head}{START}\n{markdown(results, titles)}\n{END}{tail}", encoding="utf-8")
    return [readme.name]
