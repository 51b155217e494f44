"""The closed list of what can be wrong with a message, and the one way to say it.

Owns the words (``MalformedMessage.reason``, the reason of the dead letter). Raised by ``envelope`` and ``protocol``.
"""

from __future__ import annotations

import enum

from talo.errors import MalformedMessage

__all__ = ["Fault", "malformed"]


class Fault(enum.StrEnum):
    """Why bytes or fields make no task."""

    #: The envelope: what stands in a list or row is no message.
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    BAD_BASE64 = "bad_base64"
    BAD_PROPERTIES = "bad_properties"
    #: The headers.
    BAD_HEADERS = "bad_headers"
    UNKNOWN_MESSAGE = "unknown_message"
    BAD_TASK = "bad_task"
    NO_ID = "no_id"
    BAD_ID = "bad_id"
    BAD_ETA = "bad_eta"
    BAD_EXPIRES = "bad_expires"
    BAD_TIMELIMIT = "bad_timelimit"
    #: The way in which the body is written.
    NO_CONTENT_TYPE = "no_content_type"
    UNKNOWN_CONTENT_TYPE = "unknown_content_type"
    CONTENT_REFUSED = "content_refused"
    UNKNOWN_COMPRESSION = "unknown_compression"
    BAD_COMPRESSION = "bad_compression"
    UNREADABLE = "unreadable"
    #: The body.
    BAD_BODY = "bad_body"
    BAD_ARGS = "bad_args"
    BAD_KWARGS = "bad_kwargs"
    BAD_EMBED = "bad_embed"
    BAD_SIGNATURE = "bad_signature"


def malformed(fault: Fault, text: str) -> MalformedMessage:
    """Return the error to raise; its reason is plain text, as it will be stored."""
    return MalformedMessage(fault.value, text)
