"""A task that answers with what it was asked: its app, the target and the header fields, as JSON."""

import http.server
import json
import os
import urllib.parse


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        target = urllib.parse.urlsplit(self.path)
        # A server that leads elsewhere.
        place = urllib.parse.parse_qs(target.query).get("location", [None])[0]
        body = json.dumps({
            "app": os.environ["MARATHON_APP_ID"],
            "target": self.path,
            "headers": sorted([name.lower(), value] for name, value in self.headers.items()),
        }).encode()
        self.send_response(302 if place else 200)
        if place:
            self.send_header("Location", place)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT0"])), Echo).serve_forever()
