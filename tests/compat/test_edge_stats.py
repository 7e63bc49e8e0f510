"""The edge's statistics as others read them: haproxy_exporter of Debian, and a browser.

The pictures of the browser are kept as target/compat/edge-*.png; docs/ has two of them.
"""

import collections
import json
import os
import re
import subprocess
import tempfile
import unittest
import urllib.request

from cluster import COMPAT_DIR, EXAMPLES, Cluster, program, wait_for

EXPORTER = program("prometheus-haproxy-exporter")
CHROMIUM = program("chromium")

# The page's colours: the name of a table, and a server that is up.
NAME, UP = (0xb0, 0x00, 0x40), (0xc0, 0xff, 0xc0)
FIXED = ["stats", "marathon_http_in", "marathon_http_appid_in", "marathon_https_in"]
# What is asked of the edge before its numbers are looked at.
N_REQUESTS = 12
# What the edge and the exporter name alike, at the least.
ALIKE = {
    *(f"haproxy_{kind}_{name}" for kind in ("frontend", "backend", "server")
      for name in ("current_sessions", "sessions_total", "bytes_in_total", "bytes_out_total", "http_responses_total")),
    *(f"haproxy_{kind}_{name}" for kind in ("backend", "server")
      for name in ("up", "connection_errors_total", "response_errors_total", "retry_warnings_total", "redispatch_warnings_total")),
    "haproxy_frontend_http_requests_total", "haproxy_frontend_request_errors_total", "haproxy_server_weight",
    "haproxy_server_check_failures_total", "haproxy_server_downtime_seconds_total",
}


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def samples(text):
    """Name and sorted values of labels to value. The exporter calls a proxy by its kind, the edge always `proxy`."""
    found = {}
    for name, labels, value in re.findall(r"^(haproxy_\w+?)(?:\{(.*)\})? (\S+)$", text, re.M):
        found[name, tuple(sorted(re.findall(r'="([^"]*)"', labels)))] = float(value)
    return found


class Edge(unittest.TestCase):
    """A cluster with an edge and the lab's blue app."""

    NET = None

    @classmethod
    def setUpClass(cls):
        if cls is Edge:
            raise unittest.SkipTest("what the others have in common")
        cls.cluster = Cluster(cls.NET, "--with", "marathon-lb")
        cls.addClassCleanup(cls.cluster.close)
        cls.edge = f"{cls.cluster.net}.2"

    def stats(self, what=""):
        return fetch(f"http://{self.edge}:9090/haproxy?stats{what}")

    def rows(self):
        header, *rows = self.stats(";csv").splitlines()
        names = header.removeprefix("# ").split(",")
        return [dict(zip(names, row.split(","))) for row in rows]

    def is_there(self):
        def look():
            try:
                return self.stats()
            except OSError:
                return None

        wait_for("the edge's statistics", look, bool)

    def deploy_blue(self):
        blue = json.loads((EXAMPLES / "blue-green" / "blue.json").read_text())
        # How long the lab's tasks take over their checks is theirs.
        blue["env"] |= {"HEALTH_MIN": "0", "HEALTH_MAX": "1"}
        self.cluster.call("POST", "/v2/apps", blue)
        self.cluster.settle()
        wait_for("four servers that are up", self.rows,
                 lambda rows: [row["status"] for row in rows if row["svname"].startswith("127_")] == 4 * ["UP"])


@unittest.skipUnless(EXPORTER, "prometheus-haproxy-exporter is not installed, and Debian's package could not be had")
class Exporter(Edge):
    NET = 205

    def test_it_reads_what_the_edge_counts(self):
        self.is_there()
        self.deploy_blue()
        for _ in range(N_REQUESTS):
            fetch(f"http://{self.edge}:10080/endpoint0")
        address = f"{self.cluster.net}.99:9101"
        process = subprocess.Popen(
            [EXPORTER, f"--web.listen-address={address}", f"--haproxy.scrape-uri=http://{self.edge}:9090/haproxy?stats;csv"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "GOMAXPROCS": "1"})
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

        def exported():
            try:
                return samples(fetch(f"http://{address}/metrics"))
            except OSError:
                return {}

        wait_for("the exporter", exported, bool)
        wait_for("all requests to be counted", self.rows, lambda rows: sum(int(row["hrsp_2xx"] or 0) for row in rows if (
            row["pxname"], row["svname"]) == ("zdd_blue_10080", "BACKEND")) == N_REQUESTS)
        # Whoever asks for statistics is counted among them.
        theirs = {key: value for key, value in exported().items() if "stats" not in key[1]}
        ours = {key: value for key, value in samples(fetch(f"http://{self.edge}:9090/metrics")).items() if "stats" not in key[1]}
        rows = [row for row in self.rows() if row["pxname"] != "stats"]

        self.assertEqual(theirs["haproxy_up", ()], 1)
        self.assertEqual(theirs["haproxy_exporter_csv_parse_failures_total", ()], 0)
        servers = [row["svname"] for row in rows if row["svname"].startswith("127_")]
        self.assertEqual(len(servers), 4)
        for server in servers:
            self.assertEqual(theirs["haproxy_server_up", tuple(sorted(["zdd_blue_10080", server]))], 1)
        kinds = collections.Counter(name.split("_")[1] for name, _ in theirs)
        self.assertGreater(min(kinds["frontend"], kinds["backend"], kinds["server"]), 20, kinds)

        both = {key for key in theirs if key in ours}
        self.assertLessEqual(ALIKE, {name for name, _ in both})
        self.assertEqual({key: theirs[key] for key in both}, {key: ours[key] for key in both})
        # And what is behind a name of the exporter's is the field of the CSV.
        for row in rows:
            kind = {"FRONTEND": "frontend", "BACKEND": "backend"}.get(row["svname"], "server")
            labels = [row["pxname"]] if kind in ("frontend", "backend") else [row["pxname"], row["svname"]]
            for name, field in [("sessions_total", "stot"), ("bytes_in_total", "bin"), ("bytes_out_total", "bout")]:
                self.assertEqual(theirs[f"haproxy_{kind}_{name}", tuple(sorted(labels))], float(row[field]), (row, field))
            seen = theirs[f"haproxy_{kind}_http_responses_total", tuple(sorted([*labels, "2xx"]))]
            self.assertEqual(seen, float(row["hrsp_2xx"]), row)


@unittest.skipUnless(CHROMIUM, "chromium is not installed, and Debian's package could not be had")
class Page(Edge):
    NET = 206

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        directory = tempfile.TemporaryDirectory(prefix="zdd-chromium-")
        cls.addClassCleanup(directory.cleanup)
        cls.profile = directory.name

    def browse(self, *flags):
        """What Chromium says of the page."""
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={self.profile}",
             "--window-size=1400,850", *flags, f"http://{self.edge}:9090/haproxy?stats"],
            capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": self.profile})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def picture(self, name):
        """A picture of the page: its rows, each a list of pixels."""
        from PIL import Image

        path = COMPAT_DIR / f"edge-{name}.png"
        self.browse(f"--screenshot={path}")
        with Image.open(path) as image:
            pixels = image.convert("RGB")
        width, height = pixels.size
        return [[pixels.getpixel((x, y)) for x in range(0, width, 4)] for y in range(height)]

    def tables(self):
        """Name to the titles of the rows, of each table as it stands in the page when its scripts and styles have been read."""
        page = self.browse("--dump-dom")
        self.assertIn("<title>Statistics Report for HAProxy</title>", page)
        tables = re.findall(r'<table class="proxy">.*?</table>', page, re.S)
        return [(re.search(r'<th class="name"><a [^>]*>(.*?)</a>', table)[1], re.findall(r'<td class="title"><a [^>]*>(.*?)</a>', table))
                for table in tables]

    def test_1_idle(self):
        self.is_there()
        self.assertEqual([name for name, _ in self.tables()], FIXED)
        self.assertEqual(self.seen(self.picture("idle")), {"tables": 4, "servers up": 0})

    def test_2_the_labs_blue(self):
        self.deploy_blue()
        tables = self.tables()
        self.assertEqual([name for name, _ in tables], [*FIXED, "zdd_blue_10080", "zdd_blue_10080"])
        self.assertEqual(tables[4][1], ["Frontend"])
        *servers, backend = tables[5][1]
        self.assertEqual((len(servers), backend), (4, "Backend"))
        self.assertEqual(self.seen(self.picture("blue")), {"tables": 6, "servers up": 4})

    def seen(self, rows):
        """What an eye sees: bands of a colour, one a table or a server, a few pixels high at least. Thin lines part them."""
        def bands(is_of):
            runs = "".join("x" if is_of(row) else " " for row in rows).split()
            return sum(len(run) >= 6 for run in runs)

        return {
            # What is beside the text of its name.
            "tables": bands(lambda row: row[3:5] == [NAME, NAME]),
            "servers up": bands(lambda row: row.count(UP) > len(row) // 3),
        }
