"""Four readers of `/v2/events` that know nothing of each other see one and the same stream."""

import json
import queue
import shutil
import subprocess
import threading
import unittest

import httpx
import httpx_sse
import requests
import sseclient

from cluster import PATIENCE, Cluster, simpleservice

# What tells of the readers themselves comes and goes with each of them.
ABOUT_READERS = {"event_stream_attached", "event_stream_detached"}


def with_curl(url, put):
    """curl prints the bytes; a strict reading of them: CRLF line ends, one `event:` and one `data:` line an event."""
    curl = subprocess.Popen(
        ["curl", "--silent", "--no-buffer", "--max-time", str(PATIENCE), "-H", "Accept: text/event-stream", url],
        stdout=subprocess.PIPE)
    try:
        kind = None
        for line in curl.stdout:
            assert line.endswith(b"\r\n"), line
            line = line[:-2].decode()
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                if put(kind, line.removeprefix("data: ")):
                    return
            else:
                assert line == "", line
    finally:
        curl.kill()
        curl.communicate()


def with_sseclient(url, put):
    with requests.get(url, stream=True, headers={"Accept": "text/event-stream"}, timeout=PATIENCE) as response:
        for event in sseclient.SSEClient(response).events():
            if put(event.event, event.data):
                return


def with_httpx(url, put):
    with httpx.Client(timeout=PATIENCE) as client, httpx_sse.connect_sse(client, "GET", url) as source:
        for event in source.iter_sse():
            if put(event.event, event.data):
                return


def with_lines(url, put):
    """As the client `marathon` does: only `data:` lines, and the type out of the JSON."""
    with requests.get(url, stream=True, headers={"Accept": "text/event-stream"}, timeout=PATIENCE) as response:
        for line in response.iter_lines():
            key, _, value = line.decode().partition(":")
            if key == "data" and put(json.loads(value)["eventType"], value.strip()):
                return


class Reader:
    """Collects until the second deployment has succeeded."""

    def __init__(self, read, url):
        self.attached = threading.Event()
        self.events = []
        self.result = queue.Queue()
        threading.Thread(target=self._run, args=(read, url), daemon=True).start()

    def _run(self, read, url):
        try:
            read(url, self._put)
            self.result.put(self.events)
        except BaseException as error:  # Handed to the test, which raises it.
            self.result.put(error)

    def _put(self, kind, data):
        self.attached.set()
        if kind not in ABOUT_READERS:
            self.events.append((kind, data))
        return sum(kind == "deployment_success" for kind, _ in self.events) == 2

    def events_or_raise(self):
        result = self.result.get(timeout=PATIENCE)
        if isinstance(result, BaseException):
            raise result
        return result


class EventReaders(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(202)

    def tearDown(self):
        self.cluster.close()

    def test_they_see_the_same(self):
        readers = {"sseclient": with_sseclient, "httpx": with_httpx, "lines": with_lines}
        if shutil.which("curl"):
            readers["curl"] = with_curl
        else:
            print("skipped: curl: not installed")
        running = {name: Reader(read, self.cluster.master + "/v2/events") for name, read in readers.items()}
        for name, reader in running.items():
            self.assertTrue(reader.attached.wait(PATIENCE), f"{name} was never attached")

        self.cluster.call("POST", "/v2/apps", simpleservice("/seen", "0.9"))
        self.cluster.settle()
        self.cluster.call("PUT", "/v2/apps/seen", {"env": {"SIMPLE_SERVICE_VERSION": "1.0"}})
        seen = {name: reader.events_or_raise() for name, reader in running.items()}

        reference = seen["lines"]
        kinds = [kind for kind, _ in reference]
        self.assertEqual(kinds.count("deployment_info"), 3, "Start, Scale and Restart")
        self.assertEqual(kinds[-2:], ["deployment_step_success", "deployment_success"])
        for name, events in seen.items():
            self.assertEqual(events, reference, name)
