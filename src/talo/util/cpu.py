"""How many CPUs this process may really use."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_cpus"]


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the CPUs of the affinity mask, or the control group's quota if that is less; at least 1.

    Reads version 2 (``cpu.max``: quota and period in microseconds) and version 1 (``cpu.cfs_quota_us``).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return max(1, min(count, quota)) if quota else max(1, count)


def _quota(cgroup: Path) -> int | None:
    try:
        text, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            text = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if text in ("max", "-1"):
        return None
    # A quota of 1.5 CPUs gives two processes: one would leave half a CPU unused.
    return -(-int(text) // int(period))
