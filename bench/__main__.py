"""The command line of the bench: which measures, which peers, how often."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time

from rich.console import Console

from bench import report
from bench.lab import Lab, Trouble, machine
from bench.measures import MEASURES
from bench.peers import NAMES, Peer, load
from bench.promises import broken


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Talo and its peers side by side on private servers."
    )
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"default: all of {', '.join(MEASURES)}")
    parser.add_argument("--only", metavar="PEER,...", default=",".join(NAMES), help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--repeat", type=int, default=5, metavar="N", help="repetitions; medians are shown (default: 5)"
    )
    parser.add_argument(
        "--write", action="store_true", help="write results.json and the README's table from a part of it all, too"
    )
    parser.add_argument("--size", type=float, default=1.0, metavar="FACTOR", help="more or fewer tasks per measurement")
    chosen = parser.parse_args()
    chosen.measures = chosen.measures or list(MEASURES)
    chosen.only = [name.strip() for name in chosen.only.split(",")]
    for what, given, known in (("measure", chosen.measures, MEASURES), ("peer", chosen.only, NAMES)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"no such {what}: {', '.join(unknown)} (there are: {', '.join(known)})")
    chosen.whole = set(chosen.measures) == set(MEASURES) and set(chosen.only) == set(NAMES) and chosen.size == 1
    return chosen


def load_peers(console: Console, names: list[str], size: float) -> tuple[dict[str, Peer], int]:
    """The peers that can be imported, and how many could not."""
    peers, missing = {}, 0
    for name in names:
        try:
            peer = load(name)
        except ImportError as error:
            console.print(f"[red]{name} takes no part: {error}[/red]")
            missing += 1
        else:
            peer.sizes = {measure: max(1, round(n * size)) for measure, n in peer.sizes.items()}
            peers[name] = peer
    return peers, missing


def main() -> int:
    chosen = arguments()
    console = Console(highlight=False)
    began = time.monotonic()
    peers, failures = load_peers(console, chosen.only, chosen.size)
    titles = {name: peer.title for name, peer in peers.items()}
    samples: dict[str, dict[str, list[dict[str, float]]]] = {}
    with Lab() as lab:
        for name in chosen.measures:
            measure = MEASURES[name]
            taking_part = [peer for peer in peers.values() if name in peer.sizes]
            samples[name] = {peer.name: [] for peer in taking_part}
            # Rounds, not blocks: whatever drifts on the machine, drifts for all.
            for repetition in range(chosen.repeat):
                for peer in taking_part:
                    with console.status(f"{measure.title}: {peer.title}, {repetition + 1} of {chosen.repeat}"):
                        try:
                            lab.fresh(measure.server)
                            samples[name][peer.name].append(measure.run(lab, peer))
                        except Trouble as trouble:
                            failures += 1
                            console.print(f"[red]{measure.title}: {peer.title}: {trouble}[/red]")
            report.show(console, measure, samples[name], titles)
    if chosen.whole or chosen.write:
        versions = {name: peer.version() for name, peer in peers.items()}
        when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        results = report.document(samples, machine(), versions, chosen.repeat, when)
        console.print(f"written: {', '.join(report.write(results, titles))}")
        if chosen.whole:
            for line in broken(results["measures"]):
                failures += 1
                console.print(f"[red]{line}[/red]")
    console.print(f"{time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        sys.exit(f"bench: {trouble}")
    except KeyboardInterrupt:
        sys.exit(130)
