"""The dashboard: pages, JSON API, live stream and their protection, as an ASGI application.

Everything here needs the extra ``web``."""

from talo.web.access import Access
from talo.web.dashboard import Dashboard
from talo.web.user import Role, User

__all__ = ["Access", "Dashboard", "Role", "User"]
