"""Calls to SQS: boto3's clients, deadlines, and errors by their code.

Owns the clients of a process (one that answers within an operation's time, one for long polls) and the translation of
what they raise. Knows nothing of queues or leases. Called by ``queues``, ``broker`` and ``poller``.

boto3 is imported here only."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from talo.errors import (
    AccessRefused,
    ImproperlyConfigured,
    MissingExtra,
    StoreError,
    StoreUnavailable,
)
from talo.stores.sqs.address import Address, Predefined

try:
    import boto3  # type: ignore[import-untyped]
    from botocore import exceptions as botocore  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingExtra("boto3", "sqs") from error

__all__ = ["Connection", "Denied", "Overfull", "QueueMissing", "Throttled", "within"]

T = TypeVar("T")

#: What older codes begin with.
_PREFIX = "AWS.SimpleQueueService."
_MISSING = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
_POLICY = "allow it in the policy of these credentials, or of the queue"
_KEYS = "the access key, its secret or the session token are not these"
_OVER = "the session token is over: renew it, or let the usual chain do so (a role, aws sso login)"
_CLOCK = "the secret key is another, the region is not that of the endpoint, or the clock of this machine is wrong"
#: Who is denied, and the mend.
_DENIED = {
    "AccessDenied": _POLICY,
    "AccessDeniedException": _POLICY,
    "InvalidSecurity": _POLICY,
    "InvalidClientTokenId": _KEYS,
    "UnrecognizedClientException": _KEYS,
    "InvalidAccessKeyId": _KEYS,
    "AuthFailure": _KEYS,
    "ExpiredToken": _OVER,
    "ExpiredTokenException": _OVER,
    "SignatureDoesNotMatch": _CLOCK,
    "InvalidSignatureException": _CLOCK,
    "RequestExpired": _CLOCK,
}
_THROTTLED = frozenset({"RequestThrottled", "Throttling", "ThrottlingException", "KmsThrottled", "ServiceUnavailable"})
_OVERFULL = "OverLimit"
_LATER = frozenset({"QueueDeletedRecently", "InternalError", "InternalFailure"})
#: The URL of a queue is another region's.
_ELSEWHERE = "InvalidAddress"


class Denied(AccessRefused):
    """The credentials are good; a policy does not allow them this action on this queue."""


class QueueMissing(StoreError):
    """There is no queue of this name."""


class Throttled(StoreUnavailable):
    """SQS has not taken the request, for there are too many: what it asked for has not been done."""


class Overfull(StoreUnavailable):
    """So many messages of the queue are held that SQS gives out no more (120,000 in flight)."""


class Connection:
    """The clients of one process; they connect when they are used."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._clients: dict[tuple[bool, str], Any] = {}

    def client(self, *, polls: bool = False, of: Predefined | None = None) -> Any:
        """A client whose calls end within the operation's time, or within that of a long poll."""
        if self._pid != os.getpid():
            self._lock, self._pid, self._clients = threading.Lock(), os.getpid(), {}
        key = polls, of.url if of is not None else ""
        with self._lock:
            found = self._clients.get(key)
            if found is None:
                # boto3's clients may be used from several threads, but not made.
                with _making, self.translated():
                    found = self._clients[key] = self._make(polls, of)
            return found

    def _make(self, polls: bool, of: Predefined | None) -> Any:
        own = self.address
        half = self.timeout / 2
        config = Config(
            connect_timeout=half,
            read_timeout=own.poll + half if polls else half,
            # Nothing that may have been done is done again here: only the caller knows whether that is safe.
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,
            # So many are kept for the next call. With fewer, threads that send at the same time would open and close
            # connections all the time; nobody opens one that is not needed.
            max_pool_connections=128,
        )
        return _session().client(
            "sqs",
            region_name=(of.region if of is not None else None) or own.region,
            endpoint_url=own.endpoint,
            aws_access_key_id=(of.key if of is not None else None) or own.key,
            aws_secret_access_key=(of.secret if of is not None else None) or own.secret,
            config=config,
        )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise Talo's errors for boto3's."""
        try:
            yield
        except botocore.ClientError as error:
            raise self._error(error) from error
        except botocore.NoRegionError as error:
            raise ImproperlyConfigured(
                'sqs:// needs a region: broker_transport_options = {"region": "eu-west-1"}, or AWS_DEFAULT_REGION'
            ) from error
        except (botocore.NoCredentialsError, botocore.PartialCredentialsError) as error:
            raise AccessRefused(
                "sqs:// found no credentials: give the machine a role, set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or name key and secret in the URL"
            ) from error
        except (botocore.CredentialRetrievalError, botocore.MetadataRetrievalError) as error:
            # Who hands out the keys of a role may be away as SQS may.
            raise StoreUnavailable(f"{self.address.shown}: the credentials cannot be fetched: {error}") from error
        except (botocore.ConnectionError, botocore.HTTPClientError) as error:
            raise StoreUnavailable(f"{self.address.shown} cannot be reached: {type(error).__name__}") from error
        except botocore.BotoCoreError as error:
            raise ImproperlyConfigured(f"{self.address.shown} cannot be used: {error}") from error

    def _error(self, error: Any) -> Exception:
        answer = error.response.get("Error", {})
        code, text = str(answer.get("Code", "")).removeprefix(_PREFIX), str(answer.get("Message", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        shown = self.address.shown
        if code in _MISSING:
            return QueueMissing(f"{shown} has no such queue: {text}")
        if code in _DENIED:
            refusal = f"{shown} refuses {error.operation_name} ({code}): {_DENIED[code]}"
            if _DENIED[code] is not _POLICY:
                return AccessRefused(refusal)
            # What SQS says of a policy names who, what and which queue; of a signature it would quote a token.
            return Denied(f"{refusal}; it says: {text}" if text else refusal)
        if code in _THROTTLED or status == 503:
            return Throttled(f"{shown} cannot do it now: {code}")
        if code == _OVERFULL:
            return Overfull(f"{shown} gives out no more: {code}")
        if code in _LATER or status >= 500:
            return StoreUnavailable(f"{shown} cannot do it now: {code}")
        if code == _ELSEWHERE:
            return ImproperlyConfigured(f"{shown}: name the region of this queue in predefined_queues: {text}")
        return StoreError(f"{shown} refused {error.operation_name}: {code} {text}")

    def close(self) -> None:
        """Close every client. Idempotent; the next use makes new ones."""
        with self._lock:
            clients, self._clients = self._clients, {}
        if self._pid == os.getpid():
            for client in clients.values():
                client.close()


_making = threading.Lock()


@functools.cache
def _session() -> Any:
    """boto3's session, one for a process: it reads the description of the service, which takes 100 ms."""
    return boto3.session.Session()


def within(seconds: float, work: Callable[[], T], late: Exception) -> T:
    """What ``work`` returns, or ``late`` raised after so many seconds: looking up a name knows no deadline. The thread
    is left to its end."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001  it is raised again, in the thread of the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="talo-sqs-send", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if thread.is_alive():
        raise late
    if errors:
        raise errors[0]
    return answers[0]
