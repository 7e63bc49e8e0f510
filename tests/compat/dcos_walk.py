"""A walk through the commands of the dcos client, the same for each version and for processes and containers.

Eight sections, in this order, on one cluster. Each command must end with the exit code and the words that the original's
users know; none may print a Python traceback, except where the client is known to.
"""

import json
import pathlib
import re
import tempfile
import urllib.request

from cluster import EXAMPLES, PATIENCE, Cluster, wait_for
from dcos_client import TRACEBACK, Client

# Health intervals, back-off and the service's delays are so many times shorter; what a command prints does not depend on it.
SPEED = "20"

LAB = {
    "/zdd/base": "default/base.json",
    "/zdd/base-health": "default/base-health.json",
    "/zdd/base-ready": "default/base-ready.json",
    "/zdd/base-min-over": "default/base-min-over.json",
    "/zdd/blue": "blue-green/blue.json",
    "/zdd/green": "blue-green/green.json",
}

# As the lab prints them.
TASK_KEYS = [
    "appId", "host", "id", "ipAddresses", "ports", "servicePorts", "slaveId", "stagedAt", "startedAt", "state", "version",
]
RESULT_KEYS = [
    "alive", "consecutiveFailures", "firstSuccess", "lastFailure", "lastFailureCause", "lastSuccess", "taskId",
]

SHOP = {
    "id": "/shop",
    "apps": [{"id": "web", "cmd": "sleep 1000", "instances": 1, "cpus": 0.1, "mem": 16}],
    "groups": [{"id": "inner", "apps": [{"id": "db", "cmd": "sleep 1000", "instances": 1, "cpus": 0.1, "mem": 16}]}],
}


class Walk:
    """One client on one cluster."""

    def __init__(self, version, mode, net, table):
        self.version, self.mode, self.table = version, mode, table
        self.section = None
        self.client = Client(version)
        self.since_0417 = version != "0.4.14"
        self.is_06 = self.client.is_06
        self.cluster = Cluster(net, "--speed", SPEED, containerizer=mode)

    def close(self):
        self.client.close()
        self.cluster.close()

    def mend(self):
        """Puts the app of the sections back into shape, for the next one, after one that failed."""
        definition = json.loads((EXAMPLES / LAB["/zdd/base"]).read_text())
        self.cluster.call("PUT", "/v2/apps/zdd/base?force=true", definition)
        self.cluster.settle()

    # === What the sections are written with ===

    def dcos(self, command, says="", code=0, stdin="", bug=False):
        """Types a command; `says` is in what it prints, and nothing at all is printed if it is None.

        `bug`: the client is known to end with a traceback here, whatever the server answers.
        """
        answer = self.client.run(command, stdin)
        printed = answer.out + answer.err
        lines = [line for line in printed.splitlines() if line.strip()]
        found = [line for line in lines if says and says in line]
        # JSON is told by its beginning.
        key = (found or ([printed] if printed[:1] in ("[", "{") else lines) or [""])[0]
        self.table.add(self.section, self.mode, self.version, answer, key)
        assert bug or TRACEBACK not in printed, f"a traceback: {answer}"
        assert answer.code == code, f"exit code {code} expected: {answer}"
        if says is None:
            assert printed == "", f"nothing should be printed: {answer}"
        else:
            assert says in printed, f"{says!r} expected: {answer}"
        return answer

    def json(self, command, **more):
        """What a command prints, parsed."""
        return json.loads(self.dcos(command, **more).out)

    def rows(self, command, **more):
        """The table that a command prints, without its head, cell by cell."""
        lines = self.dcos(command, **more).out.splitlines()
        return [line.split() for line in lines[1:]]

    def deploys(self, command, stdin=""):
        """Types what begins a deployment, and waits for its end."""
        self.dcos(command, says="Created deployment", stdin=stdin)
        self.cluster.settle()

    def task_ids(self, app_id):
        return sorted(task["id"] for task in self.cluster.tasks(app_id))

    def running(self, app_id, count):
        """Waits until so many tasks run, and gives back their ids."""
        def ids():
            return [task["id"] for task in self.cluster.tasks(app_id) if task["state"] == "TASK_RUNNING"]

        return sorted(wait_for(f"{count} tasks of {app_id}", ids, lambda ids: len(ids) == count))

    def versions_served(self, app_id):
        """What the service itself says."""
        served = set()
        for task in self.cluster.tasks(app_id):
            with urllib.request.urlopen(f"http://{task['host']}:{task['ports'][0]}/endpoint0", timeout=PATIENCE) as answer:
                served.add(json.load(answer)["version"])
        return served

    # === The sections ===

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

    def section_2_the_lab_s_files(self):
        for path in LAB.values():
            self.dcos(f"marathon app add {path}", says="Created deployment")
        self.cluster.settle()
        self.dcos("marathon app add default/base.json", says="Application '/zdd/base' already exists", code=1)

        for app_id in LAB:
            rows = self.rows(f"marathon task list {app_id}", says=app_id)
            assert [row[:2] for row in rows] == [[app_id, "True"]] * 4, rows
            assert sorted(row[4] for row in rows) == self.task_ids(app_id), rows
        listed = self.rows("marathon app list", says="/zdd/base ")
        healths = {row[0]: (row[3], row[4]) for row in listed}
        without, all_well = ("4/4", "---"), ("4/4", "4/4")
        assert healths == {app_id: without if app_id in ("/zdd/base", "/zdd/base-ready") else all_well for app_id in LAB}, listed
        assert [row[1] for row in listed] == ["32"] * 6, "memory is printed as it was written"
        assert len(self.json("marathon app list --json")) == 6

        (first, *_) = self.task_ids("/zdd/base")
        task = self.json(f"marathon task show {first}", says='"appId": "/zdd/base"')
        assert list(task) == TASK_KEYS, task
        (first, *_) = self.task_ids("/zdd/base-health")
        task = self.json(f"marathon task show {first}", says='"alive": true')
        assert list(task) == sorted([*TASK_KEYS, "healthCheckResults"]), task
        self.dcos("marathon task show zdd_nope.1", says="Task 'zdd_nope.1' does not exist", code=1)
        self.dcos("marathon task list /nope")

        shown = self.json("marathon app show /zdd/base-health", says='"id": "/zdd/base-health"')
        results = [result for task in shown["tasks"] for result in task["healthCheckResults"]]
        assert [list(result) for result in results] == [RESULT_KEYS] * 4, results
        assert (shown["mem"], shown["instances"], shown["tasksHealthy"]) == (32, 4, 4), shown
        (check,) = self.json("marathon app show zdd/base-ready", says='"readinessChecks": [')["readinessChecks"]
        assert check["httpStatusCodesForReady"] == [200] and check["preserveLastResponse"] is False, check
        assert self.versions_served("/zdd/base") == {"0.9"}
        assert self.versions_served("/zdd/green") == {"1.0"}
        # Room on the machine for the rest.
        for app_id in ("/zdd/base-ready", "/zdd/base-min-over", "/zdd/blue", "/zdd/green"):
            self.dcos(f"marathon app remove {app_id}", says=None)
            self.cluster.settle()
        self.dcos("marathon app remove /zdd/blue", says="Error: App '/zdd/blue' does not exist", code=1)

    def section_3_updates_and_deployments(self):
        definition = (EXAMPLES / LAB["/zdd/base"]).read_text()
        self.deploys("marathon app update /zdd/base", stdin=definition.replace('"0.9"', '"1.0"'))
        assert self.versions_served("/zdd/base") == {"1.0"}
        self.deploys("marathon app update /zdd/base instances=5")
        self.running("/zdd/base", 5)
        self.dcos("marathon deployment list", says="There are no deployments", code=1)
        assert self.json("marathon deployment list --json") == []

        def stuck():
            """Begins what cannot end, as no agent has so many cpus."""
            self.dcos("marathon app update /zdd/base cpus=1000", says="Created deployment")
            (running,) = self.cluster.call("GET", "/v2/deployments")
            return running["id"]

        plan_id = stuck()
        self.dcos("marathon app update /zdd/base instances=4", code=1,
                  says="Changes blocked: deployment already in progress for app.")
        self.dcos("marathon app restart /zdd/base", code=1, says="Changes blocked: deployment already in progress for app.")
        self.dcos("marathon group scale /zdd 2", code=1, says="Changes blocked: deployment already in progress for group.")
        for command in ("marathon deployment list", "marathon deployment list /zdd/base"):
            (row,) = self.rows(command, says="restart")
            assert row == ["/zdd/base", "-", "restart", "0/1", plan_id], row
        self.dcos("marathon deployment list /nope", says="There are no deployments for '/nope'", code=1)
        row = next(row for row in self.rows("marathon app list", says="restart") if row[0] == "/zdd/base")
        # Without WAITING in 0.4.14.
        assert row[:7] == ["/zdd/base", "32", "1000", "5/5", "---", "restart", "True" if self.since_0417 else "DOCKER"], row
        self.dcos(f"marathon deployment watch --max-count=1 {plan_id}", says=plan_id)
        if self.since_0417:
            row = next(row for row in self.rows("marathon debug list", says="/zdd/base"))
            assert row[0] == "/zdd/base" and row[2:4] == ["5", "True"], row
            summary = self.dcos("marathon debug summary /zdd/base", says="CPUS").out
            assert re.search(r"^CPUS +1000 +0 / 2 ", summary, re.M), summary
            details = self.rows("marathon debug details /zdd/base", says=f"{self.cluster.net}.11")
            assert [row[3] for row in details] == ["-", "-", "-"], details
            self.dcos("marathon debug summary /nope", says="No apps found in Marathon queue", code=1)
        self.dcos("marathon app update --force /zdd/base cpus=0.1 instances=4", says="Created deployment")
        self.cluster.settle()
        self.running("/zdd/base", 4)

        plan_id = stuck()
        self.dcos(f"marathon deployment stop {plan_id}", says=None)
        self.cluster.settle()
        self.deploys("marathon app update --force /zdd/base cpus=0.1")
        plan_id = stuck()
        answer = self.json(f"marathon deployment rollback {plan_id}", says='"deploymentId": ')
        assert list(answer) == ["deploymentId", "version"] and answer["deploymentId"] != plan_id, answer
        self.dcos(f"marathon deployment watch {answer['deploymentId']}")
        self.cluster.settle()
        assert self.json("marathon app show /zdd/base")["cpus"] == 0.1
        self.dcos(f"marathon deployment stop {plan_id}", says="does not exist", code=1)

    def section_4_versions_restarts_kills_groups(self):
        versions = self.json("marathon app version list /zdd/base")
        assert versions == sorted(versions, reverse=True) and len(versions) > 3, versions
        assert self.json("marathon app version list --max-count=2 /zdd/base") == versions[:2]
        for asked in ("-1", versions[1]):
            shown = self.json(f"marathon app show --app-version={asked} /zdd/base")
            assert shown["version"] == versions[1] and "tasks" not in shown, shown
        self.dcos("marathon app show --app-version=-99 /zdd/base", says="only has", code=1)

        before = self.running("/zdd/base", 4)
        self.deploys("marathon app restart /zdd/base")
        after = self.running("/zdd/base", 4)
        assert not set(before) & set(after), (before, after)
        killed = self.dcos("marathon app kill /zdd/base", says="Killed tasks: [")
        assert all(task_id in killed.out for task_id in after), killed
        kept = wait_for("replacements", lambda: self.running("/zdd/base", 4), lambda ids: not set(ids) & set(after))
        host = self.cluster.tasks("/zdd/base")[0]["host"]
        of_host = [task["id"] for task in self.cluster.tasks("/zdd/base") if task["host"] == host]
        killed = self.dcos(f"marathon app kill --host={host} /zdd/base", says="Killed tasks: [")
        assert re.findall(r"zdd_base\.[0-9a-f-]+", killed.out.partition("Killed")[2]), killed
        wait_for("replacements", lambda: self.running("/zdd/base", 4), lambda ids: not set(ids) & set(of_host))
        self.dcos(f"marathon app kill --host={self.cluster.net}.99 /zdd/base", says="Killed tasks: []", code=1)
        (first, second, *_) = self.running("/zdd/base", 4)
        self.json(f"marathon task stop {first}", says=first)
        self.json(f"marathon task stop --wipe {second}", says=second)
        wait_for("replacements", lambda: self.running("/zdd/base", 4), lambda ids: not {first, second} & set(ids))
        self.dcos("marathon task stop zdd_nope.1", says="Task 'zdd_nope.1' does not exist", code=1)
        if self.is_06:
            (first, second, *_) = self.running("/zdd/base", 4)
            self.dcos(f"marathon task kill {first}", says=first)
            wait_for("a replacement", lambda: self.running("/zdd/base", 4), lambda ids: first not in ids)
            self.dcos(f"marathon task kill --scale {second}", says="deployment")
            self.cluster.settle()
            self.running("/zdd/base", 3)
        self.dcos("marathon app kill --scale /zdd/base", says="deployment")
        self.cluster.settle()
        self.dcos("marathon app stop /zdd/base", says="Application '/zdd/base' already stopped: 0 instances.", code=1)
        self.deploys("marathon app start /zdd/base 2")
        self.running("/zdd/base", 2)
        self.dcos("marathon app start /zdd/base", says="Application '/zdd/base' already started: 2 instances.", code=1)
        self.deploys("marathon app stop /zdd/base")
        self.running("/zdd/base", 0)
        self.deploys("marathon app start /zdd/base 4")

        self.deploys("marathon group add", stdin=json.dumps(SHOP))
        self.dcos("marathon group add", stdin=json.dumps(SHOP), says="Group '/shop' already exists", code=1)
        assert self.rows("marathon group list", says="/shop/inner") == [["/shop", "2"], ["/shop/inner", "1"], ["/zdd", "2"]]
        self.json("marathon group list --json")
        shown = self.json("marathon group show /shop", says='"id": "/shop"')
        assert [app["id"] for app in shown["apps"]] == ["/shop/web"], shown
        self.json(f"marathon group show --group-version={shown['version']} /shop")
        self.deploys("marathon group scale /shop 2")
        self.running("/shop/web", 2)
        self.running("/shop/inner/db", 2)
        web = {**SHOP["apps"][0], "env": {"A": "1"}}
        self.deploys("marathon group update /shop", stdin=json.dumps({"apps": [web]}))
        assert self.json("marathon app show /shop/web")["env"] == {"A": "1"}
        self.dcos("marathon group remove /shop", says=None)
        self.cluster.settle()
        self.dcos("marathon group show /shop", says="Error: Group '/shop' does not exist", code=1)
        for command in ("list", "show /zdd/base", "remove /zdd/base"):
            self.dcos(f"marathon pod {command}", says="This command is not supported by your version of Marathon", code=1)

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

        self.cluster.skip_without("/mesos_dns/v1/hosts/master.mesos", "names are")
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
        self.dcos("node log --leader --lines=100", says="agent registered")
        self.dcos(f"node log --mesos-id={agent_id} --lines=100", says="TASK_RUNNING")
        self.dcos("job list", says="DC/OS backend does not support metronome capabilities in this version", code=1)
        self.dcos("node diagnostics --list", says="DC/OS backend does not support diagnostics capabilities", code=1)
        self.dcos("node list-components --leader", code=1)
        if self.is_06:
            self.dcos("node dns master.mesos", says=f"{self.cluster.net}.1")
            self.dcos("marathon leader show", says=f"{self.cluster.net}.1")
            self.dcos("marathon plugin list")
            self.dcos("marathon ping --once", says="pong")
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
        self.cluster.skip_without("/capabilities", "packages are")
        nothing = "There are currently no installed packages"
        self.dcos("package search", says="marathon-lb")
        (row,) = self.rows("package search marathon-lb", says="HAProxy configured using Marathon state")
        assert row[:2] == ["marathon-lb", "1.4.1"], row
        self.dcos("package search no-such-thing", says="No packages found.", code=1)
        shown = self.json("package describe marathon-lb", says='"version": "1.4.1"')
        shown = shown["package"] if self.is_06 else shown
        assert (shown["name"], shown["maintainer"]) == ("marathon-lb", "support@mesosphere.io"), shown
        self.dcos("package describe nope", says="Package [nope] not found", code=1)
        self.dcos("package describe --package-version=9.9.9 marathon-lb", says="Version [9.9.9] of package [marathon-lb] not found", code=1)
        self.dcos("package describe --package-versions marathon-lb", says="1.4.1")
        self.dcos("package describe --app marathon-lb", says="{{marathon-lb.name}}")
        rendered = self.json("package describe --app --render marathon-lb", says='"id": "/marathon-lb"')
        assert (rendered["instances"], rendered["cpus"], rendered["mem"]) == (1, 2, 1024), rendered
        schema = self.json("package describe --config marathon-lb", says="haproxy-group")
        assert schema["properties"]["marathon-lb"]["properties"]["cpus"]["default"] == 2, schema
        self.dcos("package repo list", says="Universe")
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
            "Marathon-lb DC/OS Service has been successfully installed!\nSee https://github.com/mesosphere/marathon-lb for documentation.",
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
            options.write_text(json.dumps({"marathon-lb": {"name": "lb", "cpus": 1, "mem": 256, "haproxy-group": "inside"}}))
            self.dcos(f"package install --yes --options={options} marathon-lb", says="successfully installed")
            options.write_text(json.dumps({"marathon-lb": {"cpus": -1}}))
            self.dcos(f"package install --yes --options={options} marathon-lb", says="Error: Options JSON failed validation", code=1)
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

    def section_7_refusals(self):
        def refused(definition, message, path, error, code):
            if code == 400:
                says = f'"message": "{message}"'
            else:
                says = f"Error: {message}" if not self.since_0417 else "HTTP 422: "
            answer = self.dcos("marathon app add", stdin=json.dumps(definition), says=says, code=1)
            if code == 400 or self.since_0417:
                # All of the answer is shown: raw, or indented.
                printed = answer.out + answer.err
                assert path in printed and error in printed, answer

        refused({"id": "/bad", "cmd": "true", "instances": -1}, "Object is not valid", "/instances", "expected 0 or more", 422)
        refused({"id": "/bad", "cmd": "true", "cpus": -1}, "Object is not valid", "/cpus", "", 422)
        refused({"id": "/BAD", "cmd": "true"}, "Object is not valid", "/id", "", 422)
        refused({"id": "/bad", "cmd": "true", "instances": "three"}, "Invalid JSON", "/instances", "error.expected.jsnumber", 400)
        refused({"id": "/bad", "cmd": "true", "env": "A=1"}, "Invalid JSON", "/env", "error.expected.jsobject", 400)
        self.dcos("marathon app add", stdin='{"id": "/bad"', says="Error loading JSON", code=1)
        # Its own fault, before anything is sent.
        self.dcos("marathon app add", stdin='{"cmd": "true"}', says="KeyError: 'id'", code=1, bug=True)
        if self.since_0417:
            # It makes an address of what is not a number.
            self.dcos("""marathon app update /zdd/base 'env={"A": "b"}'""", says='"message": "Invalid JSON"', code=1)
        for command in (
            "app show", "app update /nope instances=2", "app restart", "app stop", "app start", "app remove", "app kill",
            "app version list",
        ):
            typed = command if "/nope" in command else f"{command} /nope"
            self.dcos(f"marathon {typed}", says="Error: App '/nope' does not exist", code=1)
        self.dcos("marathon group show /nope", says="Error: Group '/nope' does not exist", code=1)
        self.dcos("marathon deployment rollback nope", says="Error: DeploymentPlan nope does not exist", code=1)

    def section_8_help(self):
        """Not a word of the server's; a client that ends here does not fit its environment."""
        for command in ("", "marathon", "task", "node", "service", "package", "config", "auth", "job"):
            self.dcos(f"{command} --help".strip())
