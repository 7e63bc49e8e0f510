"""Sections of the walk about what Marathon answers: apps, deployments, groups, and what it refuses."""

import json
import re

from cluster import EXAMPLES, wait_for
from dcos_walk import BASE

LAB = {
    "/zdd/base": BASE,
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


class MarathonSections:
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
        if self.is_06:
            assert self.dcos("marathon app list --quiet", says="/zdd/base").out.split() == sorted(LAB)
            assert sorted(self.dcos("marathon task list --quiet /zdd/base").out.split()) == self.task_ids("/zdd/base")

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
        definition = (EXAMPLES / BASE).read_text()
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
