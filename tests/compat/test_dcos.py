"""The dcos clients 0.4.14, 0.4.17 and 0.6.1, unmodified, through what their users type, with processes and with containers.

The clients walk side by side, each on a cluster of its own, as a call costs 0.4 s whatever it does; a test waits for its
section of a walk. What each command came to is printed at the end, and kept in target/compat/dcos.md.
"""

import concurrent.futures
import contextlib
import inspect
import sys
import threading
import unittest

from cluster import COMPAT_DIR, no_docker
from dcos_client import VERSIONS, Table, missing
from dcos_cluster import ClusterSections
from dcos_marathon import MarathonSections
from dcos_walk import Steps


class Walk(Steps, MarathonSections, ClusterSections):
    """Eight sections, in this order, the same for each version and for processes and containers."""


SECTIONS = sorted(name for name, _ in inspect.getmembers(Walk, inspect.isfunction) if name.startswith("section_"))
# In the order in which unittest tells of the classes made of them.
MODES = ("docker", "process")
# The first network, 127.0.<net>.0/24, of as many as there are walks.
FIRST_NET = 211

TABLE = Table()


class Outcomes:
    """What has become of each section of a walk; a future each, so that a test can wait for its own."""

    def __init__(self, version, mode, net):
        self.version, self.mode, self.net = version, mode, net
        self.of = {name: concurrent.futures.Future() for name in SECTIONS}

    def walk(self):
        try:
            with contextlib.closing(Walk(self.version, self.mode, self.net, TABLE)) as walk:
                for name, future in self.of.items():
                    walk.section = name.split("_")[1]
                    try:
                        future.set_result(getattr(walk, name)())
                    except Exception as error:  # Of whatever kind: its test tells it.
                        future.set_exception(error)
                        walk.mend()
        except Exception as error:
            # No test waits for ever.
            for future in self.of.values():
                if not future.done():
                    future.set_exception(error)
            raise


def class_name(mode, version):
    return f"{mode.capitalize()}_{version.replace('.', '_')}"


OUTCOMES = {
    (mode, version): Outcomes(version, mode, FIRST_NET + at)
    for at, (mode, version) in enumerate((mode, version) for mode in MODES for version in VERSIONS)
}
# The thread that starts the walks, and what each came to as a whole.
WALKERS = []
ENDS = []


def setUpModule():
    if missing():
        raise unittest.SkipTest(missing())
    # All, or the classes that the command line names.
    keys = [key for key in OUTCOMES if class_name(*key) in " ".join(sys.argv)] or list(OUTCOMES)
    if no_docker():
        keys = [key for key in keys if key[0] != "docker"]

    def walk():
        # One mode after the other, so that six at a time do not starve each other.
        for mode in MODES:
            with concurrent.futures.ThreadPoolExecutor(len(VERSIONS)) as side_by_side:
                for key in keys:
                    if key[0] == mode:
                        ENDS.append(side_by_side.submit(OUTCOMES[key].walk))

    WALKERS.append(threading.Thread(target=walk))
    WALKERS[0].start()


def tearDownModule():
    for walker in WALKERS:
        walker.join()
        (COMPAT_DIR / "dcos.md").write_text(str(TABLE))
        print(f"\n{TABLE}")
    for end in ENDS:
        end.result()


def tests_of(mode, version):
    """A class of tests, one a section."""
    def test_of(name):
        def test(self):
            if mode == "docker" and no_docker():
                self.skipTest(no_docker())
            OUTCOMES[mode, version].of[name].result()

        return test

    members = {f"test_{name.removeprefix('section_')}": test_of(name) for name in SECTIONS}
    return type(class_name(mode, version), (unittest.TestCase,), members)


for key in OUTCOMES:
    made = tests_of(*key)
    globals()[made.__name__] = made
del made
