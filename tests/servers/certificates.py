"""Certificates for servers that speak TLS: one for ``localhost`` that is its own authority, and a stranger's.

``certificate`` lends copies whose owner a test may change: servers do not run as root, and want the key for themselves.

"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["AUTHORITY", "STRANGER", "certificate"]

_HERE = Path(__file__).parent / "tls"
#: Who vouches for the servers of the tests.
AUTHORITY = str(_HERE / "cert.pem")
#: An authority that vouches for nobody here.
STRANGER = str(_HERE / "stranger.pem")


@pytest.fixture
def certificate() -> Iterator[Path]:
    """A directory with ``cert.pem`` and ``key.pem``; whoever runs a server from it owns the key."""
    directory = Path(tempfile.mkdtemp(prefix="talo-tls-"))
    directory.chmod(0o755)
    try:
        for name in ("cert.pem", "key.pem"):
            shutil.copyfile(_HERE / name, directory / name)
            (directory / name).chmod(0o600)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
