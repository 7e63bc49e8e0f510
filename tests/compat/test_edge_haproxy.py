"""HAProxy of Debian takes `/_haproxy_getconfig`, and routes by it as the edge itself does.

It listens on the edge's ports at another address. One and the same request goes to both, and what comes of it is compared: the
status, the app that answers, what that was asked, and the fields of the answer that labels are about.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from cluster import COMPAT_DIR, EXAMPLES, Cluster, program, wait_for

HAPROXY = program("haproxy")
ECHO = pathlib.Path(__file__).with_name("echo.py")
# So many requests find every backend of a choice: each has a third of them at least.
MANY = 60

AUTH = "100% 'mine':me:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"


def echo(app_id, port, instances=1, **labels):
    """An app on a service port; the labels without `HAPROXY_0_`, but for those in small letters."""
    named = {f"HAPROXY_{name.upper()}" if name.islower() else f"HAPROXY_0_{name}": value for name, value in labels.items()}
    named = {name.replace("HAPROXY_ZDD", "ZDD"): value for name, value in named.items()}
    return {
        "id": app_id, "cmd": f"exec {sys.executable} {ECHO}", "instances": instances, "cpus": 0.05, "mem": 16, "ports": [0],
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_PORT": str(port), "HAPROXY_0_MODE": "http", **named},
    }


def group(colour, instances, started, new):
    """Half of a deployment group of zdd.py's, of which two tasks are to be."""
    return echo(f"/swap-{colour}", 10020, instances, deployment_group="swap", deployment_alt_port="10021",
                deployment_colour=colour, deployment_started_at=started, deployment_target_instances="2",
                deployment_new_instances=new)


def all_labels(pem):
    """Apps with labels of every kind."""
    return [
        echo("/plain", 10001, VHOST="plain.example,it's.example"),
        echo("/path", 10002, VHOST="plain.example", PATH="-i /Api /other'"),
        echo("/first", 10003, VHOST="plain.example", PATH="/api/v2", BACKEND_WEIGHT="9"),
        echo("/auth", 10004, VHOST="auth.example", AUTH=AUTH),
        echo("/auth-path", 10005, VHOST="plain.example", PATH="/secret", AUTH=AUTH),
        echo("/safe", 10006, VHOST="safe.example", PATH="/safe", REDIRECT_TO_HTTPS="true"),
        echo("/sticky", 10007, 3, VHOST="sticky.example", STICKY="true", USE_HSTS="true"),
        echo("/open", 10008, BACKEND_NETWORK_ALLOWED_ACL="127.0.0.0/8 ::1"),
        echo("/shut", 10009, VHOST="shut.example", BACKEND_NETWORK_ALLOWED_ACL="10.0.0.0/8"),
        echo("/tcp", 10010, MODE="tcp", BALANCE="source"),
        echo("/tcp-shut", 10011, MODE="tcp", BACKEND_NETWORK_ALLOWED_ACL="10.0.0.0/8"),
        echo("/root", 10012, VHOST="root.example", HTTP_BACKEND_REDIR="/a%20b'c"),
        echo("/strip", 10013, VHOST="strip.example,other.example", HTTP_BACKEND_PROXYPASS_PATH="/st.rip"),
        echo("/under", 10014, VHOST="under.example", HTTP_BACKEND_REVPROXY_PATH="/up%20/there.", BALANCE="leastconn"),
        echo("/tls", 10015, SSL_CERT=pem),
        echo("/share-a", 10016, VHOST="share.example", zdd_0_weight="2"),
        echo("/share-b", 10016, VHOST="share.example", zdd_0_weight="1"),
        echo("/share-c", 10016, VHOST="share.example", zdd_0_weight="0"),
        echo("/same-a", 10017), echo("/same-b", 10017),
        echo("/rest", 80),
        echo("/odd", 10018, BALANCE="static-rr", BACKEND_HEAD="  option nolinger\n", STIKY="true"),
        {**echo("/checked", 10019), "healthChecks": [{"protocol": "HTTP", "path": "/it's?a=b%20", "intervalSeconds": 2}]},
        group("blue", 2, "2016-01-01T00:00:00", "0"), group("green", 1, "2016-01-02T00:00:00", "1"),
    ]


# What is asked: the port ("http" and "https": those for vhosts), the target, and fields. The name that is asked for with TLS is `Host`.
TABLE = [
    *[("http", target, {"Host": host}) for host, target in [
        ("plain.example", "/"), ("PLAIN.example:80", "/x?y=z"), ("it's.example", "/"), ("nobody.example", "/"), ("", "/"),
        ("plain.example", "/api"), ("plain.example", "/API/v1"), ("plain.example", "/api/v2"), ("plain.example", "/Api/V2"),
        ("plain.example", "/other'"), ("plain.example", "/secret"), ("plain.example", "/Secret"), ("auth.example", "/"),
        ("safe.example", "/safe/a?b=%20c"), ("safe.example:8000", "/safe"), ("safe.example", "/else"),
        ("sticky.example", "/"), ("shut.example", "/"), ("root.example", "/"), ("ROOT.example", "/?a=b"),
        ("root.example", "/a"), ("strip.example", "/st.rip/a/b?c=d"), ("other.example", "/ST.RIP"), ("other.example", "/stxrip/a"),
        ("strip.example", "/st.ripe"), ("strip.example", "/st.rip//a"), ("strip.example", "/a/st.rip/b"),
        *[("under.example", f"/?location={place}") for place in [
            "/a?b=c", "/up%2520/there.", "/up%2520/there./a", "/up%2520/therex", "//elsewhere.example/a", "a", "/",
            "http://under.example/a", "https://UNDER.example:81/a", "http://elsewhere.example/a", "http://under.example"]],
    ]],
    *[("https", target, {"Host": host}) for host, target in [
        ("plain.example", "/"), ("plain.example", "/api/v2"), ("safe.example", "/safe"), ("auth.example", "/"),
        ("nobody.example", "/"), ("strip.example", "/st.rip/a")]],
    *[(9091, "/", {"Host": "h", "X-Marathon-App-Id": app_id}) for app_id in ["/plain", "/PLAIN", "plain", "/swap", "/tcp"]],
    (9091, "/", {"Host": "h"}),
    *[(port, "/", {"Host": "root.example"}) for port in range(10001, 10021) if port not in (10010, 10011)],
    (10004, "/", {"Host": "h", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Port": "1", "X-Forwarded-Proto": "gopher"}),
    (10010, "/tcp", {"Host": "h"}),
    (10011, "/tcp", {"Host": "h"}),
]
# Who answers is chosen among these; all but those with the weight 0 do.
CHOICES = [("http", "share.example", {"/share-a", "/share-b"}), (10016, "h", {"/share-a", "/share-b"}),
           (10017, "h", {"/same-a", "/same-b"}), (10020, "h", {"/swap-blue", "/swap-green"})]


@unittest.skipUnless(HAPROXY, "haproxy is not installed, and Debian's package could not be had")
class Rendering(unittest.TestCase):
    # How many there are to be.
    n_servers = 0

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="zdd-haproxy-")
        cls.addClassCleanup(directory.cleanup)
        cls.directory = pathlib.Path(directory.name)
        cls.cluster = Cluster(204, "--with", "marathon-lb")
        cls.addClassCleanup(cls.cluster.close)
        cls.edge, cls.haproxy = f"{cls.cluster.net}.2", f"{cls.cluster.net}.99"
        wait_for("the edge", lambda: cls.listens(cls.edge, 9090), bool)

    @staticmethod
    def listens(ip, port):
        try:
            socket.create_connection((ip, port), timeout=5).close()
            return True
        except OSError:
            return False

    def config(self):
        with urllib.request.urlopen(f"http://{self.edge}:9090/_haproxy_getconfig", timeout=10) as answer:
            return answer.read().decode()

    def taken(self, config):
        """Has HAProxy check the configuration."""
        # Kept, for whoever wants to know what is wrong with it.
        path = COMPAT_DIR / "edge-haproxy.cfg"
        path.write_text(config)
        checked = subprocess.run([HAPROXY, "-c", "-f", path], capture_output=True, text=True, timeout=60)
        said = checked.stdout + checked.stderr
        self.assertEqual(checked.returncode, 0, said)
        self.assertNotRegex(said, r"\[(WARNING|ALERT)\]")
        return path

    def deploy(self, *apps):
        """Creates apps, and waits until the edge has all of their tasks."""
        self.cluster.call("PUT", "/v2/apps?force=true", list(apps))
        self.cluster.settle()
        type(self).n_servers += sum(app["instances"] for app in apps)
        wait_for(f"{self.n_servers} servers", lambda: len(re.findall(r"^  server ", self.config(), re.M)),
                 lambda n: n == self.n_servers)

    def ask(self, ip, port, target, fields):
        """What comes of a request at this address."""
        number = {"http": self.http, "https": self.https}.get(port, port)
        connection = http.client.HTTPConnection(ip, number, timeout=10)
        try:
            connection.connect()
            if port in ("https", 10015):
                context = ssl._create_unverified_context()
                connection.sock = context.wrap_socket(connection.sock, server_hostname=fields["Host"])
            connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
            for name, value in fields.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return {"none": "no answer"}
        finally:
            connection.close()
        seen = {"status": answer.status}
        for name in ("Location", "Strict-Transport-Security", "WWW-Authenticate", "Set-Cookie"):
            # A cookie is of the server.
            seen[name] = [re.sub(r"=[0-9a-f]{10}\b", "=<server>", value) for value in answer.headers.get_all(name, [])]
        if answer.status in (200, 302):
            echoed = json.loads(body)
            # Whether a connection to a server is kept is each proxy's own affair.
            echoed["headers"] = [field for field in echoed["headers"] if field[0] != "connection"]
            seen |= echoed
        return seen

    def run_haproxy(self, config):
        """Has HAProxy listen where the edge does, at another address."""
        # With the certificate that the comment leaves open.
        begin = config.index("# frontend marathon_https_in\n")
        end = config.index("\n\n", begin)
        tls = config[begin:end].replace("\n# ", "\n").removeprefix("# ").replace("CERTIFICATE.pem", "'{}'".format(str(self.pem).replace("'", "'\\''")))
        config = config[:begin] + tls + config[end:]
        config = config.replace(f"bind {self.edge}:", f"bind {self.haproxy}:")
        # Not everybody may open as many files.
        path = self.taken(config.replace("maxconn 50000", "maxconn 500"))
        process = subprocess.Popen([HAPROXY, "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        wait_for("HAProxy to listen", lambda: self.listens(self.haproxy, 9090), bool)

    def bound(self, frontend):
        return int(re.search(rf"frontend {frontend}\n(?:#? .*\n)*?#? +bind [\d.]+:(\d+)", self.config())[1])

    def test_1_idle(self):
        self.taken(self.config())

    def test_2_the_labs_blue_and_green(self):
        blue, green = (json.loads((EXAMPLES / "blue-green" / f"{name}.json").read_text()) for name in ("blue", "green"))
        green["labels"] = blue["labels"]
        for app in (blue, green):
            # What the lab's checks wait for is theirs.
            app["env"] |= {"HEALTH_MIN": "0", "HEALTH_MAX": "1"}
        self.deploy(blue, green)
        config = self.config()
        self.assertEqual(len(re.findall("^# warning: ", config, re.M)), 3)
        self.taken(config)

    @unittest.skipUnless(shutil.which("openssl"), "openssl is not installed, and HAProxy's certificate is made with it")
    def test_3_labels_of_every_kind(self):
        type(self).pem = self.directory / "it's a certificate.pem"
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=*", "-keyout", self.directory / "key", "-out", self.directory / "cert"], capture_output=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.pem.write_text((self.directory / "cert").read_text() + (self.directory / "key").read_text())
        type(self).http, type(self).https = self.bound("marathon_http_in"), self.bound("marathon_https_in")
        self.deploy(*all_labels(str(self.pem)))
        config = self.config()
        self.assertEqual(len(re.findall(" disabled$", config, re.M)), 1, "one of the old app's tasks drains")
        self.assertNotIn("$1$", config, "a password is nobody's business")
        self.run_haproxy(config)

        faults = []
        for port, target, fields in TABLE:
            # Which of several servers answers is no difference.
            ours, haproxys = (self.ask(ip, port, target, fields) for ip in (self.edge, self.haproxy))
            for seen in (ours, haproxys):
                if port in (10016, 10017, 10020) or fields.get("X-Marathon-App-Id") == "/swap":
                    seen.pop("app", None)
            if ours != haproxys:
                faults.append(f"{port} {target} {fields}\n  ours    {ours}\n  HAProxy {haproxys}")
        self.assertEqual(faults, [], "\n".join(["", *faults]))
        for port, host, expected in CHOICES:
            for ip in (self.edge, self.haproxy):
                apps = {self.ask(ip, port, "/", {"Host": host})["app"] for _ in range(MANY)}
                self.assertEqual(apps, expected, f"{ip} {port} {host}")
        self.a_cookie_leads_to_its_server()

    def a_cookie_leads_to_its_server(self):
        """The edge gives it, and HAProxy goes by it; and the other way round."""
        def get(ip, cookie):
            connection = http.client.HTTPConnection(ip, self.http, timeout=10)
            connection.request("GET", "/", headers={"Host": "sticky.example", **({"Cookie": cookie} if cookie else {})})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.headers.get("Set-Cookie")

        for giver, taker in ((self.edge, self.haproxy), (self.haproxy, self.edge)):
            given = get(giver, None)
            self.assertRegex(given, r"^mesosphere_server_id=[0-9a-f]{10}; path=/$")
            self.assertIsNone(get(taker, given.split(";")[0]), "it is known there")
            self.assertIsNotNone(get(taker, "mesosphere_server_id=0000000000"))
