"""The Python client `marathon`, unmodified, through what its users do.

It builds its objects from our answers by keyword arguments: an unknown key anywhere raises TypeError, so each call that
returns an object also checks that the answer carries the original's keys and no others.
"""

import collections
import collections.abc
import http.server
import logging
import threading
import unittest

collections.Iterable = collections.abc.Iterable  # What Python 3.10 took from the client; see README.md.

import marathon
from marathon.exceptions import ConflictError
from marathon.models import MarathonApp, MarathonConstraint, MarathonGroup, MarathonHealthCheck
from marathon.models.app import MarathonUpgradeStrategy
from marathon.models.container import MarathonContainer

from cluster import Cluster, simpleservice, wait_for

CLUSTER = None
CLIENT = None


def setUpModule():
    global CLUSTER, CLIENT
    logging.getLogger("marathon").setLevel(logging.CRITICAL)  # It logs the refusals that the tests want to see.
    CLUSTER = Cluster(201, "--speed", "10")
    CLIENT = marathon.MarathonClient(CLUSTER.master)


def tearDownModule():
    CLUSTER.close()


def app(version="0.9", instances=2, **more):
    raw = simpleservice("unused", version, instances)
    return MarathonApp(
        instances=instances,
        cpus=raw["cpus"],
        mem=raw["mem"],
        env=raw["env"],
        container=MarathonContainer.from_json(raw["container"]),
        **more,
    )


class Apps(unittest.TestCase):
    def tearDown(self):
        for found in CLIENT.list_apps():
            CLIENT.delete_app(found.id, force=True)
        CLUSTER.settle()

    def test_create_read_update_scale_restart_delete(self):
        created = CLIENT.create_app("/py/life", app(labels={"tier": "web"}))
        self.assertEqual((created.id, created.instances, created.tasks_running), ("/py/life", 2, 0))
        self.assertEqual(len(created.deployments), 1)
        CLUSTER.settle()

        read = CLIENT.get_app("/py/life", embed_tasks=True, embed_counts=True, embed_task_stats=True)
        self.assertEqual((read.tasks_running, len(read.tasks), read.ports), (2, 2, [10000]))
        self.assertEqual({task.state for task in read.tasks}, {"TASK_RUNNING"})
        self.assertTrue(all(task.started_at.tzinfo for task in read.tasks))
        self.assertEqual(read.task_stats.total_summary.stats.counts.running, 2)

        answer = CLIENT.update_app("/py/life", MarathonApp(env={"SIMPLE_SERVICE_VERSION": "1.0"}))
        self.assertEqual(set(answer), {"version", "deploymentId"})
        CLUSTER.settle()
        updated = CLIENT.get_app("/py/life")
        self.assertEqual(updated.env, {"SIMPLE_SERVICE_VERSION": "1.0"})
        self.assertEqual(updated.ports, [10000], "service ports are kept")
        self.assertEqual({task.version for task in CLIENT.list_tasks("/py/life")}, {answer["version"]})

        CLIENT.scale_app("/py/life", delta=1)
        CLUSTER.settle()
        self.assertEqual(len(CLIENT.list_tasks("/py/life")), 3)
        CLIENT.scale_app("/py/life", instances=1)
        CLUSTER.settle()
        before = {task.id for task in CLIENT.list_tasks("/py/life")}
        self.assertEqual(len(before), 1)

        CLIENT.restart_app("/py/life")
        CLUSTER.settle()
        after = {task.id for task in CLIENT.list_tasks("/py/life")}
        self.assertEqual((len(after), before & after), (1, set()))

        self.assertEqual(set(CLIENT.delete_app("/py/life")), {"version", "deploymentId"})
        CLUSTER.settle()
        with self.assertRaises(marathon.NotFoundError):
            CLIENT.get_app("/py/life")

    def test_lists_and_filters(self):
        CLIENT.create_app("/py/one", app(instances=1, labels={"colour": "blue"}))
        CLIENT.create_app("/py/two", app(instances=1, labels={"colour": "green"}))
        CLUSTER.settle()
        ids = lambda **filters: [found.id for found in CLIENT.list_apps(**filters)]
        self.assertEqual(ids(), ["/py/one", "/py/two"])
        self.assertEqual(ids(app_id="TWO"), ["/py/two"])
        self.assertEqual(ids(label="colour==blue"), ["/py/one"])
        self.assertEqual(ids(label="colour in (blue, green)"), ["/py/one", "/py/two"])
        self.assertEqual(ids(cmd="sleep"), [])
        everything = CLIENT.list_apps(
            embed_tasks=True, embed_counts=True, embed_deployments=True, embed_readiness=True,
            embed_last_task_failure=True, embed_failures=True, embed_task_stats=True)
        self.assertEqual([len(found.tasks) for found in everything], [1, 1])
        self.assertEqual({task.app_id for task in CLIENT.list_tasks()}, {"/py/one", "/py/two"})
        endpoints = CLIENT.list_endpoints()
        self.assertEqual({endpoint.service_port for endpoint in endpoints}, {10000, 10001})

    def test_versions_and_rollback(self):
        first = CLIENT.create_app("/py/history", app("0.9", 1)).version
        CLUSTER.settle()
        second = CLIENT.update_app("/py/history", MarathonApp(env={"SIMPLE_SERVICE_VERSION": "1.0"}))["version"]
        CLUSTER.settle()
        self.assertEqual(CLIENT.list_versions("/py/history"), [second, first])
        old = CLIENT.get_version("/py/history", first)
        self.assertEqual((old.version, old.env), (first, {"SIMPLE_SERVICE_VERSION": "0.9"}))
        CLIENT.rollback_app("/py/history", first)
        CLUSTER.settle()
        self.assertEqual(CLIENT.get_app("/py/history").env, {"SIMPLE_SERVICE_VERSION": "0.9"})

    def test_several_apps_in_one_deployment(self):
        answer = CLIENT.update_apps([
            MarathonApp(id="/py/a", cmd="sleep 1000", instances=1, cpus=0.1, mem=16),
            MarathonApp(id="/py/b", cmd="sleep 1000", instances=1, cpus=0.1, mem=16, dependencies=["/py/a"]),
        ])
        self.assertEqual(set(answer), {"version", "deploymentId"})
        CLUSTER.settle()
        self.assertEqual([found.id for found in CLIENT.list_apps()], ["/py/a", "/py/b"])
        started = {task.app_id: task.staged_at for task in CLIENT.list_tasks()}
        self.assertLess(started["/py/a"], started["/py/b"])

    def test_health_checks_constraints_and_strategy(self):
        wanted = app(instances=2)
        wanted.health_checks = [MarathonHealthCheck(protocol="HTTP", path="/endpoint0", interval_seconds=10, port_index=0)]
        wanted.constraints = [MarathonConstraint("hostname", "UNIQUE")]
        wanted.upgrade_strategy = MarathonUpgradeStrategy(maximum_over_capacity=0.5, minimum_health_capacity=0.5)
        CLIENT.create_app("/py/healthy", wanted)
        CLUSTER.settle()
        read = CLIENT.get_app("/py/healthy", embed_tasks=True)
        self.assertEqual(read.tasks_healthy, 2)
        self.assertEqual([result.alive for task in read.tasks for result in task.health_check_results], [True, True])
        self.assertEqual(len({task.host for task in read.tasks}), 2)
        self.assertEqual(read.constraints, [MarathonConstraint("hostname", "UNIQUE")])
        self.assertEqual(read.upgrade_strategy.minimum_health_capacity, 0.5)

    def test_kills(self):
        CLIENT.create_app("/py/kills", app(instances=3))
        CLUSTER.settle()
        first, second, third = sorted(task.id for task in CLIENT.list_tasks("/py/kills"))
        killed = CLIENT.kill_task("/py/kills", first)
        self.assertEqual(killed.id, first)
        running = lambda: {task.id for task in CLIENT.list_tasks("/py/kills") if task.state == "TASK_RUNNING"}
        wait_for("a replacement", running, lambda ids: len(ids) == 3 and first not in ids)
        self.assertTrue(CLIENT.kill_given_tasks([second], scale=True))
        CLUSTER.settle()
        self.assertEqual(CLIENT.get_app("/py/kills").instances, 2)
        host = CLIENT.list_tasks("/py/kills")[0].host
        on_host = {task.id for task in CLIENT.list_tasks("/py/kills") if task.host == host}
        self.assertEqual({task.id for task in CLIENT.kill_tasks("/py/kills", host=host)}, on_host)
        wait_for("replacements", running, lambda ids: len(ids) == 2 and not ids & on_host)
        with self.assertRaises(marathon.MarathonHttpError) as refused:
            CLIENT.kill_tasks("/py/kills", scale=True, wipe=True)
        self.assertEqual(refused.exception.status_code, 400)

    def test_errors_carry_their_message(self):
        CLIENT.create_app("/py/taken", app(instances=1))
        with self.assertRaises(ConflictError) as refused:
            CLIENT.create_app("/py/taken", app(instances=1))
        self.assertIn("/py/taken", str(refused.exception))
        with self.assertRaises(marathon.MarathonHttpError) as refused:
            CLIENT.create_app("/py/negative", app(instances=-1))
        self.assertEqual(refused.exception.status_code, 422)
        self.assertEqual(refused.exception.error_message, "Object is not valid")
        with self.assertRaises(marathon.NotFoundError):
            CLIENT.restart_app("/py/absent")


class Deployments(unittest.TestCase):
    def tearDown(self):
        for found in CLIENT.list_apps():
            CLIENT.delete_app(found.id, force=True)
        CLUSTER.settle()

    def stuck(self, app_id):
        """An app whose update cannot end: it asks for more than any agent has."""
        CLIENT.create_app(app_id, MarathonApp(cmd="sleep 1000", instances=1, cpus=0.1, mem=16))
        CLUSTER.settle()
        return CLIENT.update_app(app_id, MarathonApp(cpus=1000))["deploymentId"]

    def test_a_running_one_is_listed_locks_and_is_forced_away(self):
        plan_id = self.stuck("/py/stuck")
        (running,) = CLIENT.list_deployments()
        self.assertEqual((running.id, running.affected_apps, running.current_step), (plan_id, ["/py/stuck"], 1))
        self.assertEqual(running.current_actions[0].action, "RestartApplication")
        with self.assertRaises(ConflictError):
            CLIENT.update_app("/py/stuck", MarathonApp(cpus=0.2))
        CLIENT.update_app("/py/stuck", MarathonApp(cpus=0.2), force=True)
        CLUSTER.settle()
        self.assertEqual(CLIENT.get_app("/py/stuck").cpus, 0.2)

    def test_a_deleted_one_is_rolled_back(self):
        plan_id = self.stuck("/py/back")
        answer = CLIENT.delete_deployment(plan_id)
        self.assertNotEqual(answer["deploymentId"], plan_id)
        CLUSTER.settle()
        self.assertEqual(CLIENT.get_app("/py/back").cpus, 0.1)
        self.assertEqual(CLIENT.get_app("/py/back").tasks_running, 1)

    def test_a_deleted_one_stops_without_rollback_by_force(self):
        plan_id = self.stuck("/py/stop")
        self.assertEqual(CLIENT.delete_deployment(plan_id, force=True), {})
        CLUSTER.settle()
        self.assertEqual(CLIENT.get_app("/py/stop").cpus, 1000)
        with self.assertRaises(marathon.NotFoundError):
            CLIENT.delete_deployment(plan_id)

    def test_the_queue_tells_what_waits(self):
        self.assertEqual(CLIENT.list_queue(), [])
        self.stuck("/py/queued")
        (item,) = CLIENT.list_queue()
        self.assertEqual((item.app.id, item.count, item.delay.overdue), ("/py/queued", 1, True))
        (item,) = CLIENT.list_queue(embed_last_unused_offers=True)
        self.assertEqual(item.app.id, "/py/queued")
        self.assertTrue(item.last_unused_offers)
        CLIENT.reset_delay("/py/queued")


class Groups(unittest.TestCase):
    def tearDown(self):
        CLIENT.delete_group("/", force=True)
        CLUSTER.settle()

    def group(self, group_id, *apps, groups=()):
        return MarathonGroup(id=group_id, apps=list(apps), groups=list(groups))

    def sleeper(self, app_id, instances=1, **more):
        return MarathonApp(id=app_id, cmd="sleep 1000", instances=instances, cpus=0.1, mem=16, **more)

    def test_create_read_update_scale_delete(self):
        inner = self.group("inner", self.sleeper("db"))
        answer = CLIENT.create_group(self.group("/shop", self.sleeper("web"), groups=[inner]))
        self.assertEqual(set(answer), {"version", "deploymentId"})
        CLUSTER.settle()
        read = CLIENT.get_group("/shop")
        self.assertEqual([found.id for found in read.apps], ["/shop/web"])
        self.assertEqual([found.id for found in read.groups[0].apps], ["/shop/inner/db"])
        self.assertEqual([found.id for found in CLIENT.list_groups()], ["/shop"])

        CLIENT.scale_group("/shop", 2)
        CLUSTER.settle()
        self.assertEqual([len(found.tasks) for found in CLIENT.list_apps(embed_tasks=True)], [2, 2])

        CLIENT.update_group("/shop", self.group("/shop", self.sleeper("/shop/web", 1, env={"A": "1"})))
        CLUSTER.settle()
        self.assertEqual(CLIENT.get_app("/shop/web").env, {"A": "1"})

        CLIENT.delete_group("/shop")
        CLUSTER.settle()
        with self.assertRaises(marathon.NotFoundError):
            CLIENT.get_group("/shop")
        self.assertEqual(CLIENT.list_tasks(), [])

    def test_a_group_that_is_there_is_not_created_again(self):
        CLIENT.create_group(self.group("/twice", self.sleeper("web")))
        CLUSTER.settle()
        with self.assertRaises(ConflictError):
            CLIENT.create_group(self.group("/twice", self.sleeper("web")))


class Server(unittest.TestCase):
    def test_info_leader_ping_metrics(self):
        info = CLIENT.get_info()
        self.assertEqual((info.name, info.version, info.elected), ("marathon", "1.3.13", True))
        self.assertEqual(CLIENT.get_leader()["leader"], info.leader)
        self.assertEqual(CLIENT.ping().strip(), b"pong")
        self.assertIn("service.mesosphere.marathon.app.count", CLIENT.get_metrics()["gauges"])

    def test_abdication_leaves_a_leader_and_the_tasks(self):
        CLIENT.create_app("/py/kept", app(instances=1))
        CLUSTER.settle()
        before = {task.id for task in CLIENT.list_tasks("/py/kept")}
        self.assertEqual(CLIENT.delete_leader(), {"message": "Leadership abdicated"})
        wait_for("a leader", lambda: CLIENT.get_leader().get("leader"), bool)
        self.assertEqual({task.id for task in CLIENT.list_tasks("/py/kept")}, before)
        CLIENT.delete_app("/py/kept")
        CLUSTER.settle()


class Events(unittest.TestCase):
    def test_a_stream_becomes_objects(self):
        stream = CLIENT.event_stream()
        self.assertEqual(next(stream).event_type, "event_stream_attached")
        CLIENT.create_app("/py/events", app(instances=1))
        seen = []
        for event in stream:
            seen.append(event)
            if event.event_type == "deployment_success":
                break
        kinds = [event.event_type for event in seen]
        self.assertEqual(kinds.count("deployment_step_success"), 2)
        states = [event.task_status for event in seen if event.event_type == "status_update_event"]
        self.assertEqual(states, ["TASK_STAGING", "TASK_RUNNING"])
        CLIENT.delete_app("/py/events")
        CLUSTER.settle()

    def test_only_the_wanted_types(self):
        stream = CLIENT.event_stream(event_types=["deployment_success"])
        CLIENT.create_app("/py/some", app(instances=1))
        self.assertEqual(next(stream).event_type, "deployment_success")
        CLIENT.delete_app("/py/some")
        CLUSTER.settle()

    def test_callbacks(self):
        received = []
        arrived = threading.Event()

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                received.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                if b'"deployment_success"' in received[-1]:
                    arrived.set()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/events"
        try:
            self.assertEqual(CLIENT.create_event_subscription(url)["callbackUrl"], url)
            self.assertEqual(CLIENT.list_event_subscriptions(), [url])
            CLIENT.create_app("/py/called", app(instances=1))
            self.assertTrue(arrived.wait(30), f"no deployment_success among {len(received)} posts")
            self.assertEqual(CLIENT.delete_event_subscription(url)["eventType"], "unsubscribe_event")
            self.assertEqual(CLIENT.list_event_subscriptions(), [])
        finally:
            server.shutdown()
            server.server_close()
        CLIENT.delete_app("/py/called")
        CLUSTER.settle()
