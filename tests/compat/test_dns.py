"""Programs that look names up, and proxies and a scraper that find servers by names, against the cluster's DNS."""

import collections
import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import dns.message
import dns.query
import dns.rdatatype
import dns.resolver

from cluster import BINARY, Cluster, program, simpleservice, wait_for

HAPROXY = program("haproxy")
NGINX = program("nginx")
PROMETHEUS = program("prometheus")
SRV = "_blue-zdd._tcp.marathon.mesos"

HAPROXY_RESOLVES = """
global
  stats socket {dir}/stats
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  retries 3
  option redispatch
resolvers cluster
  nameserver zdd {dns}
  timeout resolve 200ms
  timeout retry 200ms
  hold valid 200ms
  hold obsolete 0s
  hold nx 200ms
"""

HAPROXY_CONFIG = HAPROXY_RESOLVES + """
frontend in
  bind {net}.250:10090
  default_backend service
backend service
  option httpchk GET /endpoint0
  default-server check inter 200ms resolve-opts ignore-weight
  server-template blue 4 _blue-zdd._tcp.marathon.mesos resolvers cluster init-addr none
  server-template green 4 _green-zdd._tcp.marathon.mesos resolvers cluster init-addr none
"""

# Weights are the records' own.
HAPROXY_OF_GATEWAY = HAPROXY_RESOLVES + """
frontend in
  bind {net}.250:10092
  default_backend shop
backend shop
  option httpchk GET /endpoint0
  default-server check inter 200ms
  server-template shop 8 _shop._tcp.gateway.mesos resolvers cluster init-addr none
"""

NGINX_CONFIG = """
worker_processes 1;
daemon off;
pid {dir}/pid;
error_log {dir}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3; uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
  resolver {dns} valid=1s ipv6=off;
  server {{
    listen {net}.250:10091;
    location / {{
      set $service moved-zdd.marathon.mesos;
      proxy_pass http://$service:31777;
      proxy_connect_timeout 1s;
    }}
  }}
}}
"""

PROMETHEUS_CONFIG = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: blue
    metrics_path: /endpoint0
    dns_sd_configs:
      - names: [_blue-zdd._tcp.marathon.mesos]
        refresh_interval: 1s
"""


def app(colour, version, instances=4):
    return simpleservice(f"/zdd/{colour}", version, instances)


class Dns(unittest.TestCase):
    NET = None
    FLAGS = ()

    def setUp(self):
        self.cluster = Cluster(self.NET, *self.FLAGS)
        self.addCleanup(self.cluster.close)
        # Port 53 for root, else another one.
        self.dns, port = re.search(r"^DNS +([0-9.]+):(\d+)", self.cluster.announcement, re.M).groups()
        self.port = int(port)
        directory = tempfile.TemporaryDirectory(prefix="zdd-dns-")
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)

    def start(self, app):
        self.cluster.call("POST", "/v2/apps", app)
        self.cluster.settle()

    def running(self, colour):
        """Addresses and ports of the running tasks."""
        tasks = self.cluster.tasks(f"/zdd/{colour}")
        return {(task["host"], task["ports"][0]) for task in tasks if task["state"] == "TASK_RUNNING"}

    def spawn(self, command, **more):
        log = open(self.dir / "log", "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **more)
        self.addCleanup(process.kill)
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.terminate)
        return process


class Lookups(Dns):
    NET = 206

    def ask(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def test_programs_find_services(self):
        self.start(app("blue", "0.9"))
        ports = {port for _, port in self.running("blue")}
        hosts = {host for host, _ in self.running("blue")}
        self.assertEqual(len(ports), 4)
        # Names follow tasks within a moment.
        query = dns.message.make_query(SRV, "SRV")
        named = lambda: sum(len(all) for all in dns.query.udp(query, self.dns, port=self.port, timeout=10).answer)
        wait_for("all to be named", named, lambda n: n == 4)
        at = f"@{self.dns}"
        asked = {
            "dig": ["-p", str(self.port), at, SRV, "SRV"],
            "kdig": [at, "-p", str(self.port), SRV, "SRV"],
            "drill": ["-p", str(self.port), at, SRV, "SRV"],
            # It validates, and there is nothing to validate by.
            "delv": [at, "-p", str(self.port), "-i", SRV, "SRV"],
        }
        for name, args in asked.items():
            with self.subTest(name):
                path = program(name)
                if not path:
                    self.skipTest(f"{name} could not be had")
                said = self.ask(path, *args)
                # Owner, TTL, class, type, then priority, weight, port and target.
                found = re.findall(rf"^{re.escape(SRV)}\.\s+60\s+IN\s+SRV\s+0 0 (\d+) (\S+)", said, re.M)
                self.assertEqual({int(port) for port, _ in found}, ports, said)
                for _, target in found:
                    self.assertRegex(target, r"^blue-zdd-[a-z0-9]{5}-s\d+\.marathon\.mesos\.$")

        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [self.dns], self.port
        self.assertEqual({answer.port for answer in resolver.resolve(SRV, "SRV")}, ports)
        self.assertEqual({answer.port for answer in resolver.resolve(SRV, "SRV", tcp=True)}, ports)
        found = {str(answer) for answer in resolver.resolve("blue-zdd.marathon.mesos", "A")}
        self.assertEqual(found, hosts)
        for srv in resolver.resolve(SRV, "SRV"):
            self.assertEqual(len(resolver.resolve(srv.target, "A")), 1)
        with self.assertRaises(dns.resolver.NXDOMAIN):
            resolver.resolve("nobody.marathon.mesos", "A")
        with self.assertRaises(dns.resolver.NoAnswer):
            resolver.resolve("blue-zdd.marathon.mesos", "AAAA")
        query = dns.message.make_query("elsewhere.example", "A")
        self.assertEqual(dns.query.udp(query, self.dns, port=self.port, timeout=10).rcode(), dns.rcode.REFUSED)

    def test_what_is_too_large_comes_over_tcp(self):
        self.start({"id": "/many", "cmd": "exec sleep 3600", "instances": 24, "cpus": 0.01, "mem": 8, "ports": [0]})
        query = dns.message.make_query("_many._tcp.marathon.mesos", "SRV")

        def look():
            answer, was_tcp = dns.query.udp_with_fallback(query, self.dns, port=self.port, timeout=10)
            return was_tcp, sum(len(records) for records in answer.answer)

        wait_for("all to be named", look, lambda seen: seen == (True, 24))


class Proxies(Dns):
    def follows(self, what, look, is_good):
        """Waits for it, and says how long that took after the deployment's end."""
        at = time.monotonic()
        wait_for(what, look, is_good)
        print(f"{what} after {time.monotonic() - at:.2f} s", flush=True)

    def get(self, port, host=250):
        """What a proxy answers at a port: the status and, if the service answered, its version."""
        connection = http.client.HTTPConnection(f"{self.cluster.net}.{host}", port, timeout=5)
        try:
            connection.request("GET", "/endpoint0")
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, json.loads(body)["version"] if answer.status == 200 else None
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()


class Followers(Proxies):
    NET = 207

    @unittest.skipUnless(HAPROXY, "Debian's package haproxy could not be had")
    def test_haproxy_follows_a_cut_over(self):
        self.start(app("blue", "0.9"))
        config = self.dir / "haproxy.cfg"
        config.write_text(HAPROXY_CONFIG.format(dir=self.dir, dns=f"{self.dns}:{self.port}", net=self.cluster.net))
        self.spawn([HAPROXY, "-db", "-f", config])
        wait_for("HAProxy to find blue", lambda: self.get(10090), lambda got: got == (200, "0.9"))

        self.start(app("green", "1.0"))
        self.follows("HAProxy finds green", lambda: self.get(10090), lambda got: got == (200, "1.0"))
        self.cluster.call("PUT", "/v2/apps/zdd/blue", {"instances": 0})
        self.cluster.settle()
        many = lambda: collections.Counter(self.get(10090) for _ in range(50))
        self.follows("HAProxy leaves blue", many, lambda seen: seen == {(200, "1.0"): 50})

    @unittest.skipUnless(NGINX, "Debian's package nginx could not be had")
    def test_nginx_follows_a_task_that_moves(self):
        moved = simpleservice("/zdd/moved", "0.9", 1, ports=[31777], requirePorts=True)
        moved["constraints"] = [["hostname", "LIKE", f"{self.cluster.net}.11".replace(".", "\\.")]]
        self.start(moved)
        config = self.dir / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(dir=self.dir, dns=f"{self.dns}:{self.port}", net=self.cluster.net))
        self.spawn([NGINX, "-c", config, "-e", self.dir / "first.log"])
        wait_for("nginx to find it", lambda: self.get(10091), lambda got: got == (200, "0.9"))

        moved["constraints"][0][2] = f"{self.cluster.net}.12".replace(".", "\\.")
        moved["env"]["SIMPLE_SERVICE_VERSION"] = "1.0"
        self.cluster.call("PUT", "/v2/apps/zdd/moved", moved)
        self.cluster.settle()
        self.follows("nginx follows", lambda: self.get(10091), lambda got: got == (200, "1.0"))

    @unittest.skipUnless(PROMETHEUS, "Debian's package prometheus could not be had")
    def test_prometheus_follows_services(self):
        self.start(app("blue", "0.9", 2))
        (self.dir / "prometheus.yml").write_text(PROMETHEUS_CONFIG)
        address = f"{self.cluster.net}.250:9090"
        if self.port != 53:
            self.skipTest("it asks whom /etc/resolv.conf names, at port 53, where only root may listen")
        command = [PROMETHEUS, f"--config.file={self.dir}/prometheus.yml", f"--storage.tsdb.path={self.dir}/data",
                   f"--web.listen-address={address}"]
        shell = [BINARY, "shell", "--data-dir", self.cluster.data_dir, "--"]
        tried = subprocess.run([*shell, "true"], capture_output=True, text=True, timeout=30)
        if tried.returncode != 0:
            self.skipTest(f"no file can be put in place of /etc/resolv.conf here: {tried.stderr.strip()}")
        self.spawn([*shell, *command], env={**os.environ, "GOMAXPROCS": "1"})

        def found():
            try:
                with urllib.request.urlopen(f"http://{address}/api/v1/targets?state=active", timeout=10) as answer:
                    active = json.load(answer)["data"]["activeTargets"]
            except urllib.error.URLError:
                return None
            return len({target["discoveredLabels"]["__address__"] for target in active})

        wait_for("both tasks to be targets", found, lambda n: n == 2)
        self.cluster.call("PUT", "/v2/apps/zdd/blue", {"instances": 4})
        self.cluster.settle()
        # It hands on what it has found every 5 s.
        self.follows("Prometheus follows", found, lambda n: n == 4)


class Weights(Proxies):
    NET = 208
    FLAGS = ("--dns-extras", "--with", "marathon-lb")

    def weigh(self, blue, green):
        """Has the edge deal requests out by these weights; its answer means that it does."""
        routes = [
            {"name": name, "weight": weight, "to": {"app": {"id": f"/zdd/{name}"}}}
            for name, weight in [("blue", blue), ("green", green)]
        ]
        gateway = json.dumps({"listen": {"port": 10099}, "routes": routes}).encode()
        url = f"http://{self.cluster.net}.2:9090/zdd/v1/gateways/shop"
        request = urllib.request.Request(url, data=gateway, method="PUT", headers={"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()

    def shares(self, *at):
        """Who answers a hundred requests."""
        return collections.Counter(self.get(*at) for _ in range(100))

    @unittest.skipUnless(HAPROXY, "Debian's package haproxy could not be had")
    def test_haproxy_deals_out_by_a_gateways_weights(self):
        self.start(app("blue", "0.9", 2))
        self.start(app("green", "1.0", 2))
        self.weigh(80, 20)
        config = self.dir / "haproxy.cfg"
        config.write_text(HAPROXY_OF_GATEWAY.format(dir=self.dir, dns=f"{self.dns}:{self.port}", net=self.cluster.net))
        self.spawn([HAPROXY, "-db", "-f", config])
        blue, green = (200, "0.9"), (200, "1.0")
        # HAProxy knows 256 steps: of its 642 shares, 512 are blue's. The edge's are exact.
        is_near = lambda seen: set(seen) == {blue, green} and abs(seen[blue] - 80) <= 2
        wait_for("HAProxy to give blue 80 %", lambda: self.shares(10092), is_near)
        self.assertEqual(self.shares(10099, 2), {blue: 80, green: 20})

        self.weigh(25, 75)
        is_near = lambda seen: set(seen) == {blue, green} and abs(seen[blue] - 25) <= 2
        self.follows("HAProxy takes new weights", lambda: self.shares(10092), is_near)
        self.weigh(0, 100)
        self.follows("HAProxy leaves an app without weight", lambda: self.shares(10092), lambda seen: seen == {green: 100})
