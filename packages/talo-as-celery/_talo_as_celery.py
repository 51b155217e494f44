"""Waits, at no cost, for an import of celery, kombu, billiard or vine that is not installed; then Talo stands in.

Run by ``talo_as_celery.pth`` at the start of every interpreter, so it imports nothing before it is needed.
"""

import sys


class Waiting:
    """Asked last: what comes here is not installed."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):  # noqa: ARG004
        if fullname not in ("celery", "kombu", "billiard", "vine"):
            return None
        if Waiting in sys.meta_path:
            sys.meta_path.remove(Waiting)
        from importlib.util import find_spec  # noqa: PLC0415

        from talo.compat.install import install_as_celery  # noqa: PLC0415

        install_as_celery()
        return find_spec(fullname)


sys.meta_path.append(Waiting)
