"""A cluster of its own for a test: the real binary, a loopback network and a data directory that nobody else uses."""

import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

BINARY = os.environ["ZDD_BIN"]
COMPAT_DIR = pathlib.Path(os.environ["COMPAT_DIR"])
# The lab's app definitions.
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"

# Longest wait for anything that has to happen, in seconds; far above what it takes.
PATIENCE = 60


def program(name):
    """Where a program is that is installed, or that `debian` has unpacked; None if it is not to be had."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", str(COMPAT_DIR / "debian" / "bin")])
    return shutil.which(name, path=path)


class Cluster:
    """`zddcluster up --detach` in 127.0.<net>.0/24, until `close`."""

    def __init__(self, net, *flags, containerizer="process"):
        self.net = f"127.0.{net}"
        self.master = f"http://{self.net}.1:8080"
        self._data = tempfile.TemporaryDirectory(prefix="zdd-compat-")
        self.data_dir = self._data.name
        command = [BINARY, "up", "--detach", "--net", f"{self.net}.0/24", "--data-dir", self.data_dir]
        command += ["--containerizer", containerizer, *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise RuntimeError(f"up failed: {done.stdout}{done.stderr}")
        self.announcement = done.stdout

    def close(self):
        subprocess.run([BINARY, "down", "--data-dir", self.data_dir], check=True, capture_output=True, timeout=PATIENCE)
        self._data.cleanup()

    def call(self, method, path, body=None):
        """The parsed answer of the API; an error of it raises with its text."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.master + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error
        return json.loads(text) if text else None

    def settle(self):
        """Waits until no deployment runs."""
        wait_for("no deployment to run", lambda: self.call("GET", "/v2/deployments"), lambda plans: plans == [])

    def tasks(self, app_id):
        return self.call("GET", f"/v2/apps{app_id}/tasks")["tasks"]


def no_docker():
    """Why there are no containers; None if an engine answers."""
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    connection = http.client.HTTPConnection("docker", timeout=10)
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(path)
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
        return None if answer.status == 200 else f"the Docker engine at {path} answers {answer.status}"
    except (OSError, http.client.HTTPException) as error:
        return f"no Docker engine answers at {path}: {error}"
    finally:
        connection.close()


def wait_for(what, look, is_good):
    """Looks again and again until it is good, and gives back what it saw; tells the last sight when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = look()
        if is_good(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE} s for {what}, last seen: {seen}")
        time.sleep(0.05)


def simpleservice(app_id, version="0.9", instances=2, **more):
    """The lab's service, small."""
    return {
        "id": app_id,
        "instances": instances,
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"},
        },
        "env": {"SIMPLE_SERVICE_VERSION": version},
        **more,
    }
