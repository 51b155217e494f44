"""Somebody else's service: exchange rates, slow, and out of order at the first call for each currency.

``slow_api.py [SECONDS]``: how long an answer takes. Prints its address when it takes requests.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
seen: set[str] = set()


class Rates(BaseHTTPRequestHandler):
    """GET /EUR -> {"rate": 1.08}"""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(DELAY)
        currency = self.path.strip("/")
        known = currency in seen
        seen.add(currency)
        answer = {"rate": round(0.5 + sum(map(ord, currency)) % 97 / 50, 4)} if known else {"error": "try again later"}
        body = json.dumps(answer).encode()
        self.send_response(200 if known else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rates)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
