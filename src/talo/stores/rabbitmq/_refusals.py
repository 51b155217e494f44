"""RabbitMQ's refusals as Talo's errors, by their reply codes.

Owns the table of AMQP 0-9-1 §1.1's reply codes, as far as RabbitMQ uses them. Called by ``connection``.
"""

from __future__ import annotations

from talo.errors import AccessRefused, StoreError, StoreUnavailable, TaloError

__all__ = [
    "ACCESS_REFUSED",
    "NOT_FOUND",
    "PRECONDITION_FAILED",
    "RESOURCE_LOCKED",
    "ChannelRefused",
    "as_error",
    "refusal_of",
]

ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
_NOT_ALLOWED = 530


class ChannelRefused(StoreError):
    """The server closed a channel: what was asked on it cannot be done. ``code`` is AMQP's, ``about`` the class and
    method that it refused."""

    def __init__(self, code: int, text: str, about: tuple[int, int], shown: str) -> None:
        super().__init__(f"{shown} refused ({code}): {text}")
        self.code = code
        self.text = text
        self.about = about


def refusal_of(code: int, text: str, about: tuple[int, int], shown: str) -> TaloError:
    """The error that a closed channel means."""
    if code == ACCESS_REFUSED:
        return AccessRefused(
            f"{shown} does not let this user do what Talo needs: give it permissions there "
            f"(rabbitmqctl set_permissions) ({text})"
        )
    return ChannelRefused(code, text, about, shown)


def as_error(code: int, text: str, shown: str) -> TaloError:
    """The error that a closed connection means. ``shown`` names the server without its password."""
    if code == ACCESS_REFUSED:
        return AccessRefused(f"{shown} does not accept this user name and password: correct them in the URL")
    if code == _NOT_ALLOWED:
        return AccessRefused(
            f"{shown} does not let this user into the virtual host: make it (rabbitmqctl add_vhost) and give the "
            f"user permissions there (rabbitmqctl set_permissions), or correct the URL"
        )
    return StoreUnavailable(f"{shown} closed the connection ({code}): {text}")
