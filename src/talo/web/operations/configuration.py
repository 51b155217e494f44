"""The configuration in force, with the origin of each value, and the audit log.

Owns the list; hiding secrets is the settings'."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

import talo
from talo.web.desk import Desk
from talo.web.operation import reads
from talo.web.user import Role

__all__ = ["audit_log", "configuration"]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """``all``: defaults too."""

    all: bool = False
    name: str = ""


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """How many."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100


@reads("/configuration", Asked)
def configuration(desk: Desk, asked: Asked) -> dict[str, Any]:
    """Settings with their origins, secrets hidden; stores and what they can do."""
    app = desk.app
    rows = [
        {"name": name, "value": value, "origin": origin}
        for name, value, origin in app.conf.explain(with_defaults=asked.all)
        if asked.name.casefold() in name.casefold()
    ]
    stores = [("tasks", app.store), ("results", app.result_store), ("shared state", app.state_store)]
    return {
        "all": asked.all,
        "name": asked.name,
        "settings": sorted(rows, key=lambda row: row["name"]),
        "stores": [
            {"role": role, "url": store.url, "features": msgspec.to_builtins(store.features)}
            for role, store in stores
            if store is not None
        ],
        "version": talo.__version__,
        "app": app.main or "default",
    }


@reads("/audit", Page, Role.ADMIN)
def audit_log(desk: Desk, asked: Page) -> dict[str, Any]:
    """Who changed what, the latest first."""
    path = desk.audit.path
    entries = [msgspec.to_builtins(entry) for entry in desk.audit.latest(asked.limit)]
    return {"entries": entries, "path": str(path) if path is not None else None}
