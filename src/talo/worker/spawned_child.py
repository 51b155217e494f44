"""The entrance of a spawned child, ``python -m talo.worker.spawned_child DESCRIPTOR``; used by ``worker.starters``."""

from __future__ import annotations

import sys

from talo.worker.birth import begin, live
from talo.worker.child import child_main
from talo.worker.share import Share

__all__ = ["main"]


def main(descriptor: int) -> int:
    """Be the child that the birth says; return the exit code."""
    app, birth, common = begin(descriptor)
    assert birth.serves is not None
    return child_main(app, birth.options, Share(birth.serves, birth.options.slots, common, birth.shares[0]))


if __name__ == "__main__":
    live(lambda: main(int(sys.argv[1])))
