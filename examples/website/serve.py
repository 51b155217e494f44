"""Serves the site: ``serve.py [PORT]``, any free port without one. Prints its address when it takes requests."""

import socketserver
import sys
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from website.wsgi import application


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each request; a crowd may queue up."""

    daemon_threads = True
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    """Looks up no host names."""

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *args: Any) -> None:
        sys.stderr.write(f"{self.log_date_time_string()} {format % args}\n")


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0, application, Server, Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
