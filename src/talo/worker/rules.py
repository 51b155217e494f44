"""What holds for each task, in words: delivery guarantee, retry, limits, dead-letter rule.

Owns the wording; the rules themselves are ``execution``'s and the undertaker's. Called by the banner and by ``talo
check``, so that both say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from talo.execution.acks import keeps
from talo.util.text import count, duration

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Rules", "rules_of", "user_tasks"]


class Rules(NamedTuple):
    """One task's rules."""

    delivery: str
    retry: str
    limits: str
    dead_letter: str

    def __str__(self) -> str:
        return f"{self.delivery}; retry {self.retry}; limits: {self.limits}; dead letter {self.dead_letter}"


def user_tasks(app: Talo) -> list[Any]:
    """Return the application's own tasks by name; those that are built in are left out."""
    return [app.tasks[name] for name in sorted(app.tasks) if not name.startswith(("celery.", "talo."))]


def rules_of(app: Talo, task: Any) -> Rules:
    """Return what holds for one task. The app must be finalised."""
    return Rules(_delivery(app, task), _retry(task), _limits(task), _dead_letter(app, task))


def _delivery(app: Talo, task: Any) -> str:
    if task.at_most_once:
        return "at most once"
    if task.reject_on_worker_lost is False:
        return "at least once, ends with its process"
    limit = task.max_deliveries or app.conf.task_max_deliveries
    return f"at least once, up to {count(limit, 'start')}" if limit else "at least once"


def _retry(task: Any) -> str:
    limit = (task.retry_kwargs or {}).get("max_retries", task.max_retries) if task.autoretry_for else task.max_retries
    times = "without end" if limit is None else f"up to {limit}"
    if limit == 0:
        return "never"
    pause = f"every {duration(float(task.default_retry_delay))}"
    if task.retry_backoff:
        first = max(1.0, float(task.retry_backoff))
        pause = f"after {first:g} to {task.retry_backoff_max:g} s{' with jitter' if task.retry_jitter else ''}"
    if not task.autoretry_for:
        return f"when it asks, {times}, {pause}"
    causes = "/".join(cause.__name__ for cause in task.autoretry_for)
    return f"on {causes}, {times}, {pause}"


def _limits(task: Any) -> str:
    limits = []
    if task.time_limit:
        limits.append(f"hard {duration(float(task.time_limit))}")
    if task.soft_time_limit:
        limits.append(f"soft {duration(float(task.soft_time_limit))}")
    if task.rate_limit:
        limits.append(f"rate {task.rate_limit}")
    if task.expires is not None:
        limits.append(f"expires {task.expires}")
    return ", ".join(limits) or "none"


def _dead_letter(app: Talo, task: Any) -> str:
    wanted = task.dead_letter if task.dead_letter is not None else app.conf.task_dead_letters
    return "if it fails or is lost" if wanted or keeps(task) else "if it is lost"
