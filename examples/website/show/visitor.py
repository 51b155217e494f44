"""A visitor of the site: fetches the page once for its CSRF cookie, then posts forms and uploads like a browser."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
import uuid
from collections.abc import Sequence
from typing import Any

from show.processes import DemoError

#: A field of a form: its name and its value.
Field = tuple[str, str]
#: An uploaded file: field, file name, content.
File = tuple[str, str, bytes]


class Visitor:
    """Posts to the site at ``address``; may be used by many threads."""

    def __init__(self, address: str) -> None:
        self._host = urllib.parse.urlsplit(address).netloc
        response, _, _ = self._ask("GET", "/", None, {})
        cookie = response.getheader("Set-Cookie", "")
        self._token = cookie.partition("csrftoken=")[2].partition(";")[0]
        if not self._token:
            raise DemoError(f"the site at {address} gave no CSRF cookie")

    def post(self, path: str, fields: Sequence[Field] = (), file: File | None = None) -> tuple[dict[str, Any], float]:
        """Post a form; return the answer's JSON and the seconds that it took."""
        headers = {"Cookie": f"csrftoken={self._token}", "X-CSRFToken": self._token}
        if file is None:
            body = urllib.parse.urlencode(fields).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            boundary = uuid.uuid4().hex
            body = _multipart(boundary, fields, file)
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        response, answer, seconds = self._ask("POST", path, body, headers)
        if response.status >= 400:
            raise DemoError(f"POST {path} was answered with {response.status} {response.reason}; see site.log")
        return json.loads(answer), seconds

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes, float]:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        began = time.perf_counter()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response, response.read(), time.perf_counter() - began
        except OSError as error:
            raise DemoError(f"{method} {path}: {error}; see site.log") from error
        finally:
            connection.close()


def _multipart(boundary: str, fields: Sequence[Field], file: File) -> bytes:
    field, name, content = file
    parts = [(f'name="{key}"', value.encode()) for key, value in fields]
    parts.append((f'name="{field}"; filename="{name}"\r\nContent-Type: image/jpeg', content))
    heads = (f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() for head, _ in parts)
    bodies = (body + b"\r\n" for _, body in parts)
    return (
        b"".join(piece for pair in zip(heads, bodies, strict=True) for piece in pair) + f"--{boundary}--\r\n".encode()
    )
