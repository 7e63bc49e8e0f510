"""What a walk through the commands of a dcos client is written with.

Each command must end with the exit code and the words that the original's users know; none may print a Python traceback,
except where the client is known to.
"""

import json
import urllib.request

from cluster import EXAMPLES, PATIENCE, Cluster, wait_for
from dcos_client import TRACEBACK, Client

# Health intervals, back-off and the service's delays are so many times shorter; what a command prints does not depend on it.
SPEED = "20"

# The app that every walk begins with.
BASE = "default/base.json"


class Steps:
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
        definition = json.loads((EXAMPLES / BASE).read_text())
        self.cluster.call("PUT", "/v2/apps/zdd/base?force=true", definition)
        self.cluster.settle()

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
