"""The dcos clients of PyPI, unmodified, as a test types them; and the table of what each command came to."""

import dataclasses
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import threading

from cluster import COMPAT_DIR, EXAMPLES, PATIENCE, wait_for

# 0.4.14 is the one of the lab's days, 0.4.17 the last of its line, 0.6.1 the last one written in Python.
VERSIONS = ("0.4.14", "0.4.17", "0.6.1")

TRACEBACK = "Traceback (most recent call last)"


def missing():
    """Why the clients cannot run; None if they can."""
    absent = [version for version in VERSIONS if not (COMPAT_DIR / f"dcos-{version}" / "bin" / "dcos").exists()]
    return f"dcos {', '.join(absent)} could not be installed from PyPI" if absent else None


@dataclasses.dataclass
class Answer:
    """What a command came to."""

    command: str
    stdin: str
    code: int
    out: str
    err: str

    @property
    def typed(self):
        """The command with what it reads, in short."""
        return f"{self.command} <<< '{cell(self.stdin, 40)}'" if self.stdin else self.command

    def __str__(self):
        return f"$ dcos {self.command}\n{self.out}{self.err}[exit code {self.code}]"


class Client:
    """One version, in a home of its own."""

    def __init__(self, version):
        self.version = version
        self.is_06 = version.startswith("0.6")
        self._binary = COMPAT_DIR / f"dcos-{version}" / "bin" / "dcos"
        self._home = tempfile.TemporaryDirectory(prefix=f"zdd-dcos-{version}-")
        # Instead of ssh, which some commands hand over to, a program that says what it was called with.
        programs = pathlib.Path(self._home.name) / "bin"
        programs.mkdir()
        (programs / "ssh").write_text('#!/bin/sh\necho "ssh was told: $*"\n')
        (programs / "ssh").chmod(0o755)
        # Nothing of the caller's settings, above all no DCOS_URL.
        self.env = {"HOME": self._home.name, "PATH": f"{programs}:{os.environ['PATH']}", "LANG": "C.UTF-8",
                    "SSH_AUTH_SOCK": "/nowhere"}

    def close(self):
        self._home.cleanup()

    def run(self, command, stdin=""):
        """Runs `dcos <command>`, with quotes as in a shell."""
        done = subprocess.run(
            [self._binary, *shlex.split(command)], input=stdin, capture_output=True, text=True, timeout=PATIENCE,
            cwd=EXAMPLES, env=self.env)
        return Answer(command, stdin, done.returncode, done.stdout, done.stderr)

    def follow(self, command, act, is_good):
        """Runs a command that never ends, acts once it has printed something, and ends it when what it printed is good."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                [self._binary, *shlex.split(command)], stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, cwd=EXAMPLES,
                env={**self.env, "PYTHONUNBUFFERED": "1"})

            def read(file):
                # By offset: the child shares the position that `seek` would move.
                return os.pread(file.fileno(), 1 << 20, 0).decode()

            try:
                wait_for(f"the first line of {command}", lambda: read(out) or process.poll(), bool)
                act()
                wait_for(f"more of {command}", lambda: read(out), is_good)
                assert process.poll() is None, f"{command} ended: {read(out)}{read(err)}"
            finally:
                process.kill()
                process.wait()
            return Answer(command, "", process.returncode, read(out), read(err))


# === What differs from run to run, and its name ===

VARYING = [
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+"), "<logged>"),
    (re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b"), "<ip>"),
    (re.compile(re.escape(tempfile.gettempdir()) + r"/[^ /]*/"), "<dir>/"),
    (re.compile(r"(<ip>:|\bport )\d+"), r"\1<port>"),
]


def steady(text):
    """The text without what no two runs have in common."""
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text


class Table:
    """Every command with its exit code and key line; equal rows of several clients and modes are one row."""

    def __init__(self):
        self._lock = threading.Lock()
        self._rows = {}  # (line of the list, command, exit code, key line) -> {mode: [version]}, in order of arrival.

    def add(self, section, mode, version, answer, key):
        row = (section, steady(answer.typed), answer.code, steady(key))
        with self._lock:
            self._rows.setdefault(row, {}).setdefault(mode, []).append(version)

    def __str__(self):
        lines = ["| | `dcos …` | client | exit | key line |", "|---|---|---|---|---|"]
        with self._lock:
            # A stable sort: within a section commands stay in the order in which they were typed first.
            first = {}
            for at, (section, command, *_) in enumerate(self._rows):
                first.setdefault((section, command), at)
            rows = sorted(self._rows.items(), key=lambda row: (row[0][0], first[row[0][:2]]))
            for (section, command, code, key), by_mode in rows:
                lines.append(f"| {section} | `{cell(command)}` | {clients(by_mode)} | {code} | {cell(key)} |")
        return "\n".join(lines) + "\n"


def clients(by_mode):
    seen = [(mode, [version for version in VERSIONS if version in versions]) for mode, versions in by_mode.items()]
    names = {mode: "all" if versions == list(VERSIONS) else ", ".join(versions) for mode, versions in sorted(seen, reverse=True)}
    if len(set(names.values())) == 1 and len(names) > 1:
        return next(iter(names.values()))
    return "; ".join(f"{name} ({mode})" for mode, name in names.items())


def cell(text, width=140):
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")[:width]
