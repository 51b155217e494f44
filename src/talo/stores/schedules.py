"""What a store that keeps schedules promises: plans that move from version to version, and the ledger of their runs.

Owns the contract of that one role, beside ``base``; ``talo.testing.contract`` holds stores to it. Callers: ``beat`` and
``control.schedules``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import msgspec

from talo.wire.message import Message

__all__ = ["Change", "Plan", "Plans", "Run", "Schedules"]


class Plan(msgspec.Struct, kw_only=True):
    """One periodic task as the store keeps it. The store reads nothing in it but ``name``."""

    name: str
    #: What to run and when, as JSON: ``beat``'s alone to read.
    definition: bytes
    #: Who it came from: ``config`` (it goes when the configuration drops it) or ``dynamic``.
    source: str = "config"
    enabled: bool = True
    #: Epoch seconds from which due times count until there was one.
    since: float
    #: The due time of the last tick that was decided, run or not; None: none yet.
    last_due: float | None = None
    #: When a task was last sent; None: never.
    last_run: float | None = None
    #: How many tasks were sent.
    total: int = 0
    #: Task ids that may still run, with the time of their sending; kept where overlap is limited.
    running: list[tuple[str, float]] = []
    #: The definition as it was configured, shortened to a digest: tells an edit from a changed configuration.
    configured: str = ""
    #: Set by the store: drawn anew at every change, growing within a space. 0: not stored yet.
    version: int = 0


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The fate of one expected run, or of several in a row that shared it."""

    #: When it was to be sent; of several the first.
    due: float
    #: ``ran``, ``late``, ``caught-up``, ``skipped`` (overlap), ``missed``, ``manual``.
    fate: str
    #: When that was decided.
    at: float
    task_id: str | None = None
    #: How many runs this stands for, at least.
    count: int = 1
    #: Of several the last.
    until: float | None = None


class Change(msgspec.Struct, kw_only=True):
    """A plan's step from one version to the next, with everything that it means."""

    name: str
    #: The version it starts from; 0: the plan must not exist.
    version: int
    #: What it becomes; None: it is removed, its runs too.
    plan: Plan | None
    #: Refused before this moment by the store's clock, so a scheduler whose clock is ahead fires nothing early.
    not_before: float | None = None
    #: For the ledger.
    runs: Sequence[Run] = ()
    #: The tasks that are sent with it.
    messages: Sequence[Message] = ()


class Plans(msgspec.Struct, kw_only=True):
    """What a look at the plans of a space brought."""

    #: The store's clock.
    now: float
    #: Of the latest change that this look covers: pass it to the next.
    version: int
    #: Plans that changed since the version asked for; all with ``complete``.
    changed: list[Plan]
    removed: list[str]
    #: Everything there is was told: what is not in ``changed`` is not there.
    complete: bool


class Schedules(ABC):
    """Keeps periodic tasks, so that any number of schedulers may run. A space is a project's own set of plans."""

    @abstractmethod
    def read(self, space: str, since: int = 0) -> Plans:
        """What changed after version ``since``; 0, or a version too old to be remembered: everything."""

    @abstractmethod
    def change(self, space: str, changes: Sequence[Change]) -> list[int]:
        """Apply each change whose plan is still at its version: plan, runs and messages in one step, or nothing of
        it. Return the new version of each, 0 where it was refused.

        Two callers that start from one version never both succeed: so a tick is sent once, whoever races for it.
        """

    @abstractmethod
    def runs(self, space: str, name: str, limit: int) -> list[Run]:
        """The last runs of a plan, latest first. The store keeps a bounded number, 100 or more."""
