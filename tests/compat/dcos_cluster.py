"""Sections of the walk about the cluster as a whole: set-up, tasks, nodes, services, logs, packages."""

import json
import pathlib
import re
import tempfile
import urllib.request

from cluster import PATIENCE, wait_for
from dcos_client import TRACEBACK


class ClusterSections:
    def section_1_version_and_setup(self):
        url = self.cluster.master
        if self.is_06:
            self.dcos(f"cluster setup {url}", says=None)
            (row,) = self.rows("cluster list", says="AVAILABLE")
            assert row[0].endswith("*") and row[2:] == ["AVAILABLE", "1.8.4", url], row
            cluster_id = row[1]
            self.dcos(f"cluster setup {url}", says="is already setup", code=1)
            (listed,) = self.json("cluster list --json")
            assert (listed["cluster_id"], listed["url"], listed["attached"]) == (cluster_id, url, True), listed
            self.dcos(f"cluster rename {cluster_id} lab", says=None)
            self.dcos("cluster attach lab", says=None)
            self.dcos("config show core.dcos_url", says=url)
        else:
            self.dcos(f"config set core.dcos_url {url}", says="set to")
            self.dcos("config show core.dcos_url", says=url)
        self.dcos("config validate", says="valid")
        answer = self.dcos("--version", says="dcos.version=1.8.4")
        assert f"dcoscli.version={self.version}\n" in answer.out and "N/A" not in answer.out, answer
        self.dcos("auth login", says="Login successful!")
        if self.since_0417:
            self.dcos("auth list-providers", says="No providers configured for your cluster", code=1)
        self.dcos("auth logout")

    def section_5_tasks_nodes_services_logs(self):
        killed = self.running("/zdd/base", 4)[0]
        self.cluster.call("POST", "/v2/tasks/delete", {"ids": [killed]})
        ids = wait_for("a replacement", lambda: self.running("/zdd/base", 4), lambda ids: killed not in ids)
        task_id = ids[0]
        rows = [row for row in self.rows("task", says="base.zdd") if row[0] == "base.zdd"]
        assert sorted(row[4] for row in rows) == ids and {row[3] for row in rows} == {"R"}, rows
        assert len(self.rows("task zdd_base.")) == 4
        listed = self.json(f"task --json {task_id}")
        assert [task["id"] for task in listed] == [task_id], listed
        self.dcos("task nope", says=None if not self.is_06 else "")
        ended = self.rows("task --completed zdd_base.", says=killed)
        assert [row[3] for row in ended if row[4] == killed] == ["K"], ended
        if self.is_06:
            states = {row[3] for row in self.rows("task --all zdd_base.")}
            assert states >= {"K", "R"}, states

        self.dcos(f"task log {task_id} stderr", says="This is simple service in version v")
        self.dcos(f"task log --lines=1 {task_id} stderr", says="This is simple service in version v")
        self.dcos("task log zdd_base. stderr", says=f"===> task:{task_id}:stderr <===")
        self.dcos("task log nope", says="No matching tasks. Exiting.", code=1)
        self.dcos(f"task log {task_id} nothing", says="No files exist. Exiting.", code=1)
        self.dcos(f"task log {killed} stderr", says="Run with --completed to see these logs.", code=1)
        self.dcos(f"task log --completed {killed} stderr", says="This is simple service in version v")
        self.follow(task_id)
        self.dcos(f"task ls {task_id}", says="stderr  stdout")
        self.dcos(f"task ls --long {task_id}", says="-rw-")
        self.dcos(f"task ls {task_id} nowhere", says="Cannot access [nowhere]: No such file or directory", code=1)
        if self.since_0417:
            self.dcos(f"task exec {task_id} hostname", code=1,
                      says="This command is only supported for tasks launched by the Universal Container Runtime (UCR).")
            self.dcos(f"task metrics summary {task_id}", code=1)

        addresses = [f"{self.cluster.net}.{host}" for host in (2, 11, 12)]
        nodes = self.rows("node", says=addresses[0])
        hosts = [row[0] for row in nodes]
        if self.is_06:
            assert hosts == [*sorted(addresses), "master.mesos."], nodes
            assert nodes[-1][1] == f"{self.cluster.net}.1" and "(leader)" in nodes[-1], nodes
        else:
            assert hosts == sorted(addresses), nodes
        listed = self.json("node --json", says='"hostname"')
        assert {node.get("hostname") for node in listed} >= set(addresses), listed
        agent_id = next(node["id"] for node in listed if node.get("hostname") == addresses[1])
        (row,) = self.rows("service", says="marathon")
        assert row[0] == "marathon" and row[2] == "True", row
        (listed,) = self.json("service --json", says='"name": "marathon"')
        assert listed["active"] is True, listed
        self.dcos("service --inactive")
        self.dcos("service --completed")
        self.json("marathon about", says='"name": "marathon"')
        self.dcos("node log --leader", says="zddcluster_")
        self.dcos(f"node log --mesos-id={agent_id} --lines=100", says="task=zdd_base.")
        self.dcos("job list", says="DC/OS backend does not support metronome capabilities in this version", code=1)
        self.dcos("node diagnostics --list", says="DC/OS backend does not support diagnostics capabilities", code=1)
        if self.since_0417:
            refused = f"/system/health/v1/nodes/{self.cluster.net}.1/units]: HTTP 404: "
            self.dcos("node list-components --leader", says=refused, code=1)
            refused = f"/system/health/v1/nodes/{addresses[1]}/units]: HTTP 404: "
            self.dcos(f"node list-components --mesos-id={agent_id}", says=refused, code=1)
            self.dcos(f"node metrics summary {agent_id}", says="HTTP 404: ", code=1)
        # They look the node up, and leave the rest to ssh.
        self.dcos("node ssh --leader", says=f"{self.cluster.net}.1")
        answer = self.dcos(f"node ssh --option=Port=22 --user=me --mesos-id={agent_id} uptime", says="ssh was told: ")
        assert f"{addresses[1]} " in answer.out and answer.out.rstrip().endswith("uptime"), answer
        self.dcos("node ssh --mesos-id=nope", says="No slave found with ID [nope]", code=1)
        answer = self.dcos("service log --lines=5 marathon", says="ssh was told: ")
        assert f"{self.cluster.net}.1 " in answer.out and "journalctl" in answer.out, answer
        self.dcos("service log nope", says="No marathon apps found for service", code=1)
        self.dcos("service shutdown nope", says="Bad request", code=1)
        if self.is_06:
            rows = self.rows("node --field=resources.cpus", says="RESOURCES.CPUS")
            assert [row[-1] for row in rows if row[0] in addresses] == ["4.0"] * 3, rows
            self.dcos("node dns master.mesos", says=f"{self.cluster.net}.1")
            self.dcos("marathon leader show", says=f"{self.cluster.net}.1")
            self.dcos("marathon plugin list")
            self.dcos("marathon ping --once", says="pong")
            self.dcos(f"node decommission {agent_id}", says=f"Couldn't mark agent {agent_id} as gone", code=1)
            self.dcos("marathon leader delete", says="Leadership abdicated")
            self.running("/zdd/base", 4)

    def follow(self, task_id):
        """`task log --follow` shows a request that came after it began."""
        (task,) = [task for task in self.cluster.tasks("/zdd/base") if task["id"] == task_id]
        url = f"http://{task['host']}:{task['ports'][0]}/endpoint0"
        shows = re.compile(r"INFO 200 GET /endpoint0 .*ms \[at line 1946\]")
        answer = self.client.follow(
            f"task log --follow {task_id} stderr", lambda: urllib.request.urlopen(url, timeout=PATIENCE).close(), shows.search)
        answer.code = 0  # It was ended by the test.
        self.table.add(self.section, self.mode, self.version, answer, shows.search(answer.out)[0])
        assert TRACEBACK not in answer.out + answer.err, answer

    def section_6_packages(self):
        nothing = "There are currently no installed packages"
        self.dcos("package search", says="marathon-lb")
        (row,) = self.rows("package search marathon-lb", says="HAProxy configured using Marathon state")
        assert row[:2] == ["marathon-lb", "1.4.1"], row
        self.dcos("package search no-such-thing", says="No packages found.", code=1)
        shown = self.json("package describe marathon-lb", says='"version": "1.4.1"')
        shown = shown["package"] if self.is_06 else shown
        assert (shown["name"], shown["maintainer"]) == ("marathon-lb", "support@mesosphere.io"), shown
        self.dcos("package describe nope", says="Package [nope] not found", code=1)
        self.dcos("package describe --package-version=9.9.9 marathon-lb", code=1,
                  says="Version [9.9.9] of package [marathon-lb] not found")
        self.dcos("package describe --package-versions marathon-lb", says="1.4.1")
        self.dcos("package describe --app marathon-lb", says="{{marathon-lb.name}}")
        rendered = self.json("package describe --app --render marathon-lb", says='"id": "/marathon-lb"')
        assert (rendered["instances"], rendered["cpus"], rendered["mem"]) == (1, 2, 1024), rendered
        schema = self.json("package describe --config marathon-lb", says="haproxy-group")
        assert schema["properties"]["marathon-lb"]["properties"]["cpus"]["default"] == 2, schema
        self.dcos("package repo list", says="Universe")
        self.dcos("package repo add other http://127.0.0.1:1/repo", says="The package repository is built in", code=1)
        self.dcos("package list", says=nothing, code=1)
        assert self.json("package list --json") == []
        self.dcos("package install --yes nope", says="Package [nope] not found", code=1)
        if not self.is_06:
            self.dcos("package update", says="deprecated", code=1)

        self.dcos("package install marathon-lb", stdin="no\n", says="Exiting installation.", code=1 if self.is_06 else 0)
        self.dcos("package list", says=nothing, code=1)
        # A question that is not answered is asked again.
        answer = self.dcos("package install marathon-lb", stdin="perhaps\nyes\n",
                           says="Installing Marathon app for package [marathon-lb] version [1.4.1]")
        for said in (
            "We recommend a minimum of 0.5 CPUs and 256 MB of RAM available for the Marathon-LB DCOS Service.",
            "Continue installing? [yes/no]", "'perhaps' is not a valid response.",
            "Marathon-lb DC/OS Service has been successfully installed!\n"
            "See https://github.com/mesosphere/marathon-lb for documentation.",
        ):
            assert said in answer.out + answer.err, answer
        self.cluster.settle()
        row = next(row for row in self.rows("marathon app list", says="/marathon-lb") if row[0] == "/marathon-lb")
        assert row[1:5] == ["1024", "2", "1/1", "1/1"], row
        with urllib.request.urlopen(f"http://{self.cluster.net}.2:9090/_haproxy_health_check", timeout=PATIENCE) as edge:
            assert edge.status == 200
        (row,) = self.rows("package list", says="marathon-lb")
        assert row[:3] == ["marathon-lb", "1.4.1", "/marathon-lb"], row
        (listed,) = self.json("package list --json --app-id=/marathon-lb marathon-lb")
        assert listed["apps"] == ["/marathon-lb"], listed
        self.dcos("package install --yes marathon-lb", says="Package is already installed", code=1)
        self.uninstalled("marathon-lb")

        with tempfile.TemporaryDirectory() as directory:
            options = pathlib.Path(directory) / "options.json"
            chosen = {"name": "lb", "cpus": 1, "mem": 256, "haproxy-group": "inside"}
            options.write_text(json.dumps({"marathon-lb": chosen}))
            self.dcos(f"package install --yes --options={options} marathon-lb", says="successfully installed")
            options.write_text(json.dumps({"marathon-lb": {"cpus": -1}}))
            self.dcos(f"package install --yes --options={options} marathon-lb", code=1,
                      says="Error: Options JSON failed validation")
        self.cluster.settle()
        app = self.json("marathon app show /lb")
        assert (app["cpus"], app["mem"], app["tasksHealthy"]) == (1, 256, 1) and "inside" in app["args"], app
        self.uninstalled("--app-id=/lb marathon-lb")
        if not self.is_06:
            self.dcos("package install --yes --app-id=/edge/lb marathon-lb", says="version [1.4.1] with app id [/edge/lb]")
            self.cluster.settle()
            self.uninstalled("--all marathon-lb")
        self.dcos("package list", says=nothing, code=1)

    def uninstalled(self, what):
        answer = self.dcos(f"package uninstall {what}{' --yes' if self.is_06 else ''}",
                           says="Uninstalled package [marathon-lb] version [1.4.1]")
        assert "Marathon-lb DC/OS Service has been uninstalled and will no longer run." in answer.out + answer.err, answer
        self.cluster.settle()

    def section_8_help(self):
        """Not a word of the server's; a client that ends here does not fit its environment."""
        for command in ("", "marathon", "task", "node", "service", "package", "config", "auth", "job"):
            self.dcos(f"{command} --help".strip())
