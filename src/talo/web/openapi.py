"""The API's description (OpenAPI 3.1), made from the table.

Owns the form of the document. Served at ``/api/openapi.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

import talo
from talo.web.operation import Operation

__all__ = ["describe"]

_PROBLEM = {
    "description": "What went wrong, in one line (RFC 9457).",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document."""
    schemas: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
        }
    }
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        schema = _arguments(operation)
        entry: dict[str, Any] = {
            "operationId": operation.name,
            "summary": operation.summary,
            "x-role": str(operation.role),
            "responses": {
                "200": {"description": "The facts.", "content": {"application/json": {"schema": {"type": "object"}}}},
                **dict.fromkeys(("401", "403", "404", "409", "422", "503"), _PROBLEM),
            },
        }
        if operation.method == "GET":
            required = schema.get("required", ())
            entry["parameters"] = [
                {"name": name, "in": "query", "required": name in required, "schema": each}
                for name, each in schema.get("properties", {}).items()
            ]
        else:
            entry["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        paths.setdefault(f"/api{operation.path}", {})[operation.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": "Talo dashboard", "version": talo.__version__},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
        "paths": paths,
    }


def _arguments(operation: Operation) -> dict[str, Any]:
    """The schema of an operation's arguments, in place."""
    [schema], components = msgspec.json.schema_components([operation.arguments])
    name = schema["$ref"].rpartition("/")[2]
    found: dict[str, Any] = components[name]
    return found
