"""Prometheus with `marathon_sd_configs` finds every task and follows a rolling update."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

from cluster import Cluster, program, simpleservice, wait_for

PROMETHEUS = program("prometheus")

CONFIG = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: tasks
    metrics_path: /endpoint0
    marathon_sd_configs:
      - servers: ["{master}"]
        refresh_interval: 1s
  - job_name: master
    static_configs:
      - targets: ["{net}.1:8080"]
"""


@unittest.skipUnless(PROMETHEUS, "Debian's package prometheus could not be had")
class Prometheus(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(203)
        self.addCleanup(self.cluster.close)
        directory = tempfile.TemporaryDirectory(prefix="zdd-prometheus-")
        self.addCleanup(directory.cleanup)
        path = pathlib.Path(directory.name)
        (path / "prometheus.yml").write_text(CONFIG.format(master=self.cluster.master, net=self.cluster.net))
        self.address = f"{self.cluster.net}.250:9090"
        log = open(path / "log", "wb")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={path}/prometheus.yml", f"--storage.tsdb.path={path}/data",
             f"--web.listen-address={self.address}"],
            stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "GOMAXPROCS": "1"})
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def targets(self, job):
        """Address to labels of what Prometheus has found; nothing while it starts."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/targets?state=active", timeout=10) as answer:
                active = json.load(answer)["data"]["activeTargets"]
        except urllib.error.URLError:
            return {}
        return {target["discoveredLabels"]["__address__"]: target for target in active if target["scrapePool"] == job}

    def expected(self):
        """Address to task id of the running tasks."""
        return {
            f"{task['host']}:{task['ports'][0]}": task["id"]
            for app_id in ("/prom/one", "/prom/two")
            for task in self.cluster.tasks(app_id) if task["state"] == "TASK_RUNNING"
        }

    def found(self):
        return {
            address: target["discoveredLabels"]["__meta_marathon_task"]
            for address, target in self.targets("tasks").items()
        }

    def test_tasks_are_found_and_followed(self):
        for app_id in ("/prom/one", "/prom/two"):
            self.cluster.call("POST", "/v2/apps", simpleservice(app_id, "0.9", 3, labels={"tier": "web"}))
        self.cluster.settle()
        before = self.expected()
        self.assertEqual(len(before), 6)
        wait_for("all tasks to be targets", self.found, lambda found: found == before)
        labels = next(iter(self.targets("tasks").values()))["discoveredLabels"]
        self.assertIn(labels["__meta_marathon_app"], ("/prom/one", "/prom/two"))
        self.assertEqual(labels["__meta_marathon_app_label_tier"], "web")
        self.assertEqual(labels["__meta_marathon_image"], "mhausenblas/simpleservice:0.4.0")

        self.cluster.call("PUT", "/v2/apps/prom/one", {"env": {"SIMPLE_SERVICE_VERSION": "1.0"}})
        self.cluster.settle()
        after = self.expected()
        self.assertEqual(len(after), 6)
        self.assertEqual(len(set(before.values()) & set(after.values())), 3, "the tasks of /prom/two")
        wait_for("the targets to follow", self.found, lambda found: found == after)

    def test_the_master_is_a_target_that_is_up(self):
        health = lambda: {address: target["health"] for address, target in self.targets("master").items()}
        wait_for("a first scrape", health, lambda seen: seen == {f"{self.cluster.net}.1:8080": "up"})
