"""TLS towards a server, for the stores whose client leaves it to us.

Owns the options about TLS, under redis-py's names, the context that they mean, and what is said of a certificate that
is not trusted. Opens nothing. Callers: the stores' ``address`` and ``connection`` modules; PostgreSQL's client reads
its own options (``sslmode``, ``sslrootcert``).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from talo.errors import ImproperlyConfigured

__all__ = ["TLS_OPTIONS", "tls_context", "untrusted"]

#: What ``tls_context`` reads.
TLS_OPTIONS = frozenset(
    {
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_keyfile_password",
        "ssl_check_hostname",
    }
)
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: The names of the ``ssl`` module, and RabbitMQ's.
_CERT_REQS = {
    "none": ssl.CERT_NONE,
    "cert_none": ssl.CERT_NONE,
    "verify_none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "cert_optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
    "cert_required": ssl.CERT_REQUIRED,
    "verify_peer": ssl.CERT_REQUIRED,
}


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return the context that ``options`` ask for: the server is verified, its name included, unless they say
    otherwise. Errors: ``ImproperlyConfigured``, with the files that cannot be used."""
    wanted = options.get("ssl_cert_reqs", "required")
    if isinstance(wanted, str):
        if wanted.lower() not in _CERT_REQS:
            raise ImproperlyConfigured(f"ssl_cert_reqs is required, optional or none, not {wanted!r}")
        wanted = _CERT_REQS[wanted.lower()]
    authority = options.get("ssl_ca_certs")
    check = str(options.get("ssl_check_hostname", "true")).lower() not in {"0", "false", "no"}
    try:
        # An authority that is named is the only one; else those of the system.
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        context.check_hostname = check and wanted == ssl.CERT_REQUIRED
        context.verify_mode = ssl.CERT_NONE if wanted is None else ssl.VerifyMode(wanted)
        if options.get("ssl_certfile"):
            context.load_cert_chain(
                str(options["ssl_certfile"]), options.get("ssl_keyfile") or None, options.get("ssl_keyfile_password")
            )
    except OSError as error:
        files = ", ".join(str(options[key]) for key in _FILES if options.get(key))
        raise ImproperlyConfigured(f"TLS files {files} cannot be used: {error}") from error
    return context


def untrusted(shown: str, error: ssl.SSLCertVerificationError, option: str = "ssl_ca_certs") -> ImproperlyConfigured:
    """The error for a server whose certificate does not hold; ``option`` is what names the right authority."""
    text = f"{shown} shows a certificate that cannot be trusted ({error.verify_message})"
    return ImproperlyConfigured(f"{text}: name its authority with {option}")
