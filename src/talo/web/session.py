"""The session of one browser: a signed cookie, and nothing on our side.

Owns what is in it, its signature and its end. Read and written by ``guard``; changed by ``login`` and by forms."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from itsdangerous import BadSignature, URLSafeSerializer

__all__ = ["COOKIE", "Session", "Sessions"]

COOKIE = "talo_dashboard"
#: Seconds after which a session ends, whatever is done with it.
LASTS = 12 * 3600.0
#: Longest notice that is carried to the next page.
_NOTICE = 500


class Session(msgspec.Struct, kw_only=True):
    """``changed`` says that the browser has to be told."""

    #: Names the session, so that it can be ended.
    id: str
    #: Against forgery: a form brings it back.
    token: str
    #: Epoch seconds.
    began: float
    user: str | None = None
    #: ``password`` or ``oidc``.
    via: str | None = None
    #: What an action did, shown once on the next page; and whether it went wrong.
    notice: str | None = None
    wrong: bool = False
    #: What a login at a provider has to remember.
    pending: dict[str, Any] = {}
    changed: bool = False

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """Show this once on the next page."""
        self.notice, self.wrong, self.changed = text[:_NOTICE], wrong, True

    def told(self) -> tuple[str, bool] | None:
        """The notice, which is gone then."""
        if self.notice is None:
            return None
        found, self.notice, self.changed = (self.notice, self.wrong), None, True
        return found


class Sessions:
    """Signs and reads the cookies of one dashboard."""

    #: Ended sessions that are remembered, until they would have ended by themselves.
    _MOST_ENDED = 10_000

    def __init__(self, secret: str | None = None) -> None:
        self._signer = URLSafeSerializer(secret or secrets.token_hex(32), salt="talo.dashboard.session")
        self._ended: dict[str, float] = {}

    def new(self) -> Session:
        """A session of nobody yet."""
        return Session(id=secrets.token_hex(16), token=secrets.token_urlsafe(32), began=time.time())

    def read(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None if it is forged, ended or too old."""
        if not cookie or len(cookie) > 4096:
            return None
        try:
            session = msgspec.convert(self._signer.loads(cookie), Session)
        except (BadSignature, msgspec.ValidationError):
            return None
        if session.id in self._ended or not 0 <= time.time() - session.began + 60 < LASTS + 60:
            return None
        session.changed = False
        return session

    def write(self, session: Session) -> str:
        """The cookie of a session."""
        facts = msgspec.to_builtins(session)
        del facts["changed"]
        return str(self._signer.dumps({name: value for name, value in facts.items() if value not in (None, False, {})}))

    def end(self, session: Session) -> None:
        """End a session, wherever its cookie has been copied to."""
        now = time.time()
        self._ended = {id: at for id, at in self._ended.items() if at > now - LASTS}
        self._ended[session.id] = now
        while len(self._ended) > self._MOST_ENDED:
            del self._ended[next(iter(self._ended))]
