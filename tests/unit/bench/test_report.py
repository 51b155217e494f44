"""What the bench counts and publishes is right."""

from __future__ import annotations

import threading
from pathlib import Path

from bench import report
from bench.counter import Counter

MACHINE = {"cpu": "Z80", "cores": 2, "memory_gb": 1, "system": "CP/M 2", "python": "3.11", "redis": "7"}
TITLES = {"talo": "Talo", "celery": "Celery prefork", "huey": "huey"}


def results(**rates: float) -> dict[str, object]:
    samples = {"drain": {peer: [_drain(rate)] for peer, rate in rates.items()}}
    return report.document(samples, MACHINE, {"talo": "1", "celery": "2", "huey": "3"}, 1, "2026-01-01T00:00:00+00:00")


def _drain(rate: float) -> dict[str, float]:
    return {"rate": rate, "worker_us": 1, "redis_us": 1, "redis_commands": 1, "doubled": 0}


def test_no_run_is_lost_however_many_threads_report(tmp_path: Path) -> None:
    # Given two processes' views of one counter
    counters = [Counter(str(tmp_path / "counter")) for _ in range(2)]
    # When eight threads count
    threads = [threading.Thread(target=lambda c=c: [c.hit() for _ in range(5000)]) for c in counters * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then both see every run
    assert [each.total() for each in counters] == [40_000, 40_000]


def test_ratios_say_how_many_times_better() -> None:
    table = report.markdown(results(talo=40_000, celery=1_000, huey=5_000), TITLES)
    assert "| **40,000** | 1,000 | 5,000 (huey) | 40 × | 8 × |" in table


def test_the_best_other_is_never_talo_itself() -> None:
    table = report.markdown(results(talo=4_000, celery=8_000, huey=1_000), TITLES)
    assert "| **4,000** | 8,000 | 1,000 (huey) | 0.5 × | 0.5 × |" in table


def test_the_table_goes_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    # Given a README with markers
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n")
    # When
    report.publish(results(talo=2, celery=1), TITLES, readme)
    # Then
    text = readme.read_text()
    assert text.startswith(f"before\n{report.START}\n| measure |")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "old" not in text
