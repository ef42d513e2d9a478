"""An engine of the standard library only, for tests of hosts: it starts in a blink.

It takes the flags of the simulator that these tests use, and answers /health and /v1/models.
"""

import argparse
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.server.asked
        root = "/models/another" if asked.strange else asked.model
        body = json.dumps({"data": [{"id": asked.served_model_name, "root": root}]}).encode()
        self.send_response(503 if asked.never_ready else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser()
    for name in ("--model", "--served-model-name", "--host", "--death"):
        parser.add_argument(name)
    for name in ("--never-ready", "--strange"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--port", type=int)
    asked, _ = parser.parse_known_args()
    if asked.death:
        sys.exit(asked.death)
    server = HTTPServer((asked.host, asked.port), Handler)
    server.asked = asked
    print("serves", asked.model, flush=True)  # noqa: T201
    server.serve_forever()


if __name__ == "__main__":
    main()
