"""Which SQS and how to reach it: the URL and Celery's transport options, checked once.

Owns reading ``sqs://`` URLs and the option bag. Opens nothing: that is ``connection``. Called by ``store``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from talo.errors import ImproperlyConfigured
from talo.settings.bags import SQS_KEYS

__all__ = ["Address", "Predefined", "parse_url"]

_PREDEFINED = frozenset({"url", "access_key_id", "secret_access_key", "region"})
#: The longest poll that SQS allows, in seconds (API reference, ReceiveMessage).
_LONGEST_POLL = 20


@dataclass(frozen=True, slots=True)
class Predefined:
    """A queue that exists and is never created: its URL, and credentials of its own if it has some."""

    url: str
    region: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """One account and region of SQS. Without ``key`` the credentials are those of the usual chain (environment,
    profile, role); ``repr`` shows none."""

    region: str | None = None
    endpoint: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    prefix: str = ""
    predefined: Mapping[str, Predefined] = field(default_factory=dict)
    poll: int = _LONGEST_POLL
    ledger: str | None = None

    @property
    def shown(self) -> str:
        """What names it to people."""
        where = self.endpoint.partition("://")[2] if self.endpoint else ""
        return f"sqs://{where}" + (f" in {self.region}" if self.region else "")

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells two places apart, whoever logs in."""
        urls = sorted(each.url for each in self.predefined.values())
        return self.region or "", self.endpoint or "", self.prefix, *urls


def parse_url(url: str, options: Mapping[str, Any]) -> Address:
    """The address that ``url`` and the options mean. ``sqs://`` alone is enough. ``ImproperlyConfigured``."""
    _check(options)
    try:
        parts = urlsplit(url)
        port = parts.port or options.get("port")
    except ValueError:
        # The reason would quote the URL, secret key and all.
        raise ImproperlyConfigured(
            "the SQS URL cannot be read; it is sqs://, or has key and secret, with %2F for each / in it"
        ) from None
    host = parts.hostname
    endpoint = options.get("endpoint_url")
    if host and not endpoint:
        scheme = "https" if options.get("is_secure", True) else "http"
        endpoint = f"{scheme}://{host}" + (f":{port}" if port else "")
    poll = options.get("wait_time_seconds", _LONGEST_POLL)
    if not isinstance(poll, int) or not 0 <= poll <= _LONGEST_POLL:
        raise ImproperlyConfigured(f"wait_time_seconds is a whole number from 0 to {_LONGEST_POLL}, not {poll!r}")
    key, secret = parts.username, parts.password
    if bool(key) != bool(secret):
        raise ImproperlyConfigured(
            "the SQS URL names an access key and its secret, both or neither; without, the usual chain is asked"
        )
    return Address(
        region=options.get("region"),
        endpoint=endpoint,
        key=unquote(key) if key else None,
        secret=unquote(secret) if secret else None,
        prefix=options.get("queue_name_prefix") or "",
        predefined={name: _predefined(name, given) for name, given in (options.get("predefined_queues") or {}).items()},
        poll=poll,
        ledger=options.get("ledger"),
    )


def _predefined(name: str, given: Mapping[str, Any]) -> Predefined:
    for key in given:
        if key not in _PREDEFINED:
            raise ImproperlyConfigured(
                f"predefined_queues: {key} of {name} is not known; there are {', '.join(sorted(_PREDEFINED))}"
            )
    if not given.get("url"):
        raise ImproperlyConfigured(f"predefined_queues: {name} needs its url")
    return Predefined(given["url"], given.get("region"), given.get("access_key_id"), given.get("secret_access_key"))


def _check(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in SQS_KEYS:
            near = difflib.get_close_matches(name, SQS_KEYS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(SQS_KEYS))}"
            raise ImproperlyConfigured(f"{name} is no option of the SQS store{hint}")
