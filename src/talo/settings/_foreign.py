"""Rows of the table: result backends of Celery that Talo does not have. Every one is refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from talo.settings._kinds import ANY
from talo.settings._option import Group, Option, Status

__all__ = ["GROUPS"]

#: Service, prefix of the settings, beginning of their old names, (setting, Celery's default) in Celery's order.
_SERVICES: tuple[tuple[str, str, str, tuple[tuple[str, Any], ...]], ...] = (
    ("MongoDB", "mongodb", "CELERY_MONGODB", (("backend_settings", None),)),
    (
        "Cassandra",
        "cassandra",
        "CASSANDRA",
        (
            ("servers", None),
            ("secure_bundle_path", None),
            ("bundle_path", None),
            ("port", None),
            ("keyspace", None),
            ("table", None),
            ("read_consistency", None),
            ("write_consistency", None),
            ("entry_ttl", None),
            ("auth_provider", None),
            ("auth_kwargs", None),
            ("options", {}),
        ),
    ),
    (
        "S3",
        "s3",
        "S3",
        (
            ("access_key_id", None),
            ("secret_access_key", None),
            ("bucket", None),
            ("base_path", None),
            ("endpoint_url", None),
            ("region", None),
        ),
    ),
    (
        "Azure Blob",
        "azureblockblob",
        "AZUREBLOCKBLOB",
        (
            ("container_name", "celery"),
            ("base_path", ""),
            ("retry_initial_backoff_sec", 2),
            ("retry_increment_base", 2),
            ("retry_max_attempts", 3),
            ("connection_timeout", 20),
            ("read_timeout", 120),
        ),
    ),
    (
        "Google Cloud Storage",
        "gcs",
        "GCS",
        (("bucket", None), ("project", None), ("base_path", ""), ("ttl", 0), ("threadpool_maxsize", 10)),
    ),
    ("Firestore", "firestore", "FIRESTORE", (("project", None),)),
    (
        "Elasticsearch",
        "elasticsearch",
        "CELERY_ELASTICSEARCH",
        (("retry_on_timeout", None), ("max_retries", None), ("timeout", None), ("save_meta_as_text", True)),
    ),
    ("Couchbase", "couchbase", "CELERY_COUCHBASE", (("backend_settings", None),)),
    ("ArangoDB", "arangodb", "CELERY_ARANGODB", (("backend_settings", None),)),
    (
        "Cosmos DB",
        "cosmosdbsql",
        "COSMOSDBSQL",
        (
            ("database_name", "celerydb"),
            ("collection_name", "celerycol"),
            ("consistency_level", "Session"),
            ("max_retry_attempts", 9),
            ("max_retry_wait_time", 30),
        ),
    ),
    ("DynamoDB", "dynamodb", "DYNAMODB", (("endpoint_url", None),)),
)

#: Names that do not follow the rule of their service.
_OLDER = {"cassandra_table": ("CASSANDRA_TABLE", "CASSANDRA_COLUMN_FAMILY")}
_SECRET = frozenset(
    {
        "mongodb_backend_settings",
        "cassandra_auth_kwargs",
        "s3_access_key_id",
        "s3_secret_access_key",
        "couchbase_backend_settings",
        "arangodb_backend_settings",
    }
)


def _rows() -> Iterator[Option]:
    for service, prefix, old, settings in _SERVICES:
        for setting, default in settings:
            name = f"{prefix}_{setting}"
            yield Option(
                name,
                ANY,
                default,
                _OLDER.get(name, (f"{old}_{setting.upper()}",)),
                f"Of the {service} result backend: {setting.replace('_', ' ')}.",
                Status.REFUSED,
                f"Talo has no {service} result backend; results go to redis:// or sqlite://",
                secret=name in _SECRET,
            )


GROUPS = (Group("Result backends that Talo does not have", tuple(_rows())),)
