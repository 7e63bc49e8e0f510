"""The dcos clients at a master that others than this machine can reach: it asks for its token, and they log in."""

import os
import socket
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

from cluster import BINARY, PATIENCE, wait_for
from dcos_client import TRACEBACK, Client, missing

TOKEN = "a-token-of-32-characters-or-more"
# Where the Mesos API of this master listens.
MESOS = "127.0.220.1:5050"


def free_port():
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


@unittest.skipIf(missing(), missing())
class Login(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="zdd-dcos-login-")
        cls.addClassCleanup(directory.cleanup)
        port = free_port()
        cls.url = f"http://127.0.0.1:{port}"
        log = open(os.path.join(directory.name, "master.log"), "w+")
        cls.addClassCleanup(log.close)
        master = subprocess.Popen(
            [BINARY, "master", "--front", f"0.0.0.0:{port}", "--mesos", MESOS, "--data-dir", os.path.join(directory.name, "data")],
            stdout=log, stderr=log, env={**os.environ, "ZDD_TOKEN": TOKEN})
        cls.addClassCleanup(master.wait)
        cls.addClassCleanup(master.terminate)

        def answers():
            try:
                with urllib.request.urlopen(f"{cls.url}/metadata", timeout=PATIENCE) as answer:
                    return answer.status
            except urllib.error.URLError as error:
                return f"{error}; the master's exit code: {master.poll()}"

        wait_for("the master to answer", answers, lambda status: status == 200)

    def client(self, version):
        client = Client(version)
        self.addCleanup(client.close)
        return client

    def typed(self, client, command, says, code=0, stdin=""):
        answer = client.run(command, stdin)
        printed = answer.out + answer.err
        self.assertNotIn(TRACEBACK, printed)
        self.assertEqual(answer.code, code, answer)
        self.assertIn(says, printed)
        self.assertNotIn(TOKEN, printed)

    def test_0_4_14_asks_for_a_token_to_be_pasted(self):
        client = self.client("0.4.14")
        self.typed(client, f"config set core.dcos_url {self.url}", "set to")
        # It begins to log in by itself.
        self.typed(client, "marathon about", "the token is not this cluster's", code=1, stdin="wrong\n")
        self.typed(client, "auth login", "Login successful!", stdin=f"{TOKEN}\n")
        self.typed(client, "marathon about", '"name": "marathon"')
        self.typed(client, "task", "")
        self.typed(client, "package list", "There are currently no installed packages", code=1)
        self.typed(client, "auth logout", "")
        self.typed(client, "marathon about", "the token is not this cluster's", code=1, stdin="wrong\n")

    def test_0_4_17_logs_in_as_any_user(self):
        client = self.client("0.4.17")
        self.typed(client, f"config set core.dcos_url {self.url}", "set to")
        self.typed(client, "auth list-providers", "dcos-users")
        self.typed(client, "marathon about", "a token is needed", code=1)
        self.typed(client, "auth login --username=me --password=wrong", "Authentication failed", code=1)
        self.typed(client, f"auth login --username=me --password={TOKEN}", "Login successful!")
        self.typed(client, "marathon about", '"name": "marathon"')
        self.typed(client, "task", "")
        self.typed(client, "package list", "There are currently no installed packages", code=1)

    def test_0_6_1_logs_in_as_it_sets_up(self):
        client = self.client("0.6.1")
        setup = f"cluster setup {self.url} --username=me --password="
        self.typed(client, f"{setup}wrong", "Authentication failed", code=1)
        self.typed(client, f"{setup}{TOKEN}", "")
        self.typed(client, "cluster list", "AVAILABLE")
        self.typed(client, "marathon about", '"name": "marathon"')
        self.typed(client, "package list", "There are currently no installed packages", code=1)
        self.typed(client, "auth logout", "")
        self.typed(client, "marathon about", "a token is needed", code=1)
