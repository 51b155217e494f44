"""The entrance of a spawned process: ``python -m talo.worker.spawned BIRTH``, started by ``worker.starters`` only."""

from __future__ import annotations

import signal
import sys

import msgspec

from talo.util.names import import_path
from talo.worker.agent import agent_main
from talo.worker.child import child_main
from talo.worker.lines import AgentLine
from talo.worker.logs import name_process, set_up_logging
from talo.worker.share import Common, Share
from talo.worker.starters import Birth

__all__ = ["main"]


def main(text: str) -> int:
    """Import the app, open what the supervisor has made, and be what the birth says; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        # The group's signals are the supervisor's from the first moment on.
        signal.signal(number, signal.SIG_IGN)
    birth = msgspec.json.decode(text, type=Birth)
    options = birth.options
    sys.path[:] = birth.path
    app = import_path(birth.app)
    app.conf.update(birth.settings)
    app.import_default_modules()
    app.finalize()
    app.env.hostname = options.hostname
    name_process("agent" if birth.serves is None else f"child-{birth.serves}")
    set_up_logging(app, birth.level, options.logfile)
    common = Common(birth.common)
    if birth.serves is not None:
        return child_main(app, options, Share(birth.serves, options.slots, common, birth.shares[0]))
    shares = [Share(number, options.slots, common, handles) for number, handles in enumerate(birth.shares)]
    assert birth.line is not None
    return agent_main(app, options, shares, common, AgentLine.of_agent(birth.line))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
