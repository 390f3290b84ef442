"""The admin pages against promtool and a real Prometheus: metrics, alerts, every dashboard query."""

import contextlib
import fcntl
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import harness
import identity
from sluice_kv import api

DEPLOY = os.path.join(os.environ["SLUICE_SOURCE"], "deploy")
RATE_INTERVAL = "5s"  # with a scrape each second
START_S = 60  # on a machine that does much else


def until(what: str, attempt, limit_s: float = START_S):
    """Returns the first result of attempt() that is true."""
    end = time.monotonic() + limit_s
    while True:
        result = attempt()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {limit_s} s")
        time.sleep(0.2)


def fetch(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def admin_address(daemon: harness.Daemon) -> str:
    return until("admin address", lambda: re.search(r" admin=(\S+) ", daemon.log())).group(1)


def read_to_end(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass


def promtool(*arguments: str, text: str = "") -> tuple[int, str]:
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


class Load:
    """A client that puts, finds, misses and gets pages, over and over."""

    def __init__(self, address: str):
        self._address = address
        self._stop = threading.Event()
        self.rounds = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        descriptor = identity.descriptor(
            bytes(32), dtype="f16", layers=range(2), heads=2, dim=64, rope="interleaved", base=1e4
        )
        with api.Client(self._address) as client, api.Space(client, descriptor) as space:
            while not self._stop.wait(0.1):
                first = self.rounds * 1000
                keys = space.keys(list(range(first, first + 192)))
                tensors = bytearray(space.page_bytes * len(keys))
                space.put(keys[:2], tensors[: 2 * space.page_bytes])
                space.lookup(keys)
                space.get(keys, tensors)
                self.rounds += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class Prometheus:
    """A Prometheus with the shipped configuration, changed to this daemon and a scrape a second."""

    def __init__(self, target: str):
        self.folder = tempfile.mkdtemp(prefix="sluice-prometheus.")
        shutil.copy(os.path.join(DEPLOY, "prometheus", "alerts.yml"), self.folder)
        with open(os.path.join(DEPLOY, "prometheus", "prometheus.yml")) as file:
            text = file.read()
        for old, new in (("127.0.0.1:9464", target), ("_interval: 15s", "_interval: 1s")):
            assert old in text, old
            text = text.replace(old, new)
        config = os.path.join(self.folder, "prometheus.yml")
        with open(config, "w") as file:
            file.write(text)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={self.folder}/data",
                f"--web.listen-address={self.address}",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        until("Prometheus", self._ready)

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"prometheus ended with {self.process.returncode}")
        try:
            return fetch(self.address, "/-/ready")[0] == 200
        except OSError:
            return False

    def api(self, path: str, **parameters) -> dict:
        query = urllib.parse.urlencode(parameters)
        return json.loads(fetch(self.address, f"/api/v1/{path}?{query}")[1])

    def values(self, query: str) -> list[float]:
        """The values of an instant query that are numbers."""
        answer = self.api("query", query=query)
        if answer["status"] != "success":
            raise RuntimeError(f"{query}: {answer.get('error')}")
        values = [float(series["value"][1]) for series in answer["data"]["result"]]
        return [value for value in values if math.isfinite(value)]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)


def dashboard_queries() -> list[tuple[str, str]]:
    """(panel, query) with Grafana's variables filled in."""
    with open(os.path.join(DEPLOY, "grafana", "sluice.json")) as file:
        dashboard = json.load(file)
    return [
        (
            panel["title"],
            target["expr"].replace("$__rate_interval", RATE_INTERVAL).replace("$instance", ".*"),
        )
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


class AdminPages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        disk = tempfile.TemporaryDirectory(prefix="sluice-disk.")
        cls.addClassCleanup(disk.cleanup)
        cls.daemon = harness.Daemon(
            "--admin", "127.0.0.1:0", "--disk", disk.name, "--disk-capacity", "64MiB"
        )
        cls.addClassCleanup(cls.daemon.stop)
        cls.address = admin_address(cls.daemon)
        cls.load = Load(cls.daemon.socket)
        cls.addClassCleanup(cls.load.stop)
        until("load", lambda: cls.load.rounds > 2, 20)

    def test_promtool_has_nothing_to_say_about_the_metrics(self):
        status, body = fetch(self.address, "/metrics")
        self.assertEqual(status, 200)
        self.assertEqual(promtool("check", "metrics", text=body), (0, ""))

    def test_a_daemon_that_serves_is_healthy_and_ready(self):
        self.assertEqual(fetch(self.address, "/healthz"), (200, "ok\n"))
        self.assertEqual(fetch(self.address, "/readyz"), (200, "ok\n"))
        self.assertEqual(fetch(self.address, "/pages")[0], 404)

    def test_prometheus_answers_every_query_of_the_dashboard(self):
        prometheus = Prometheus(self.address)
        self.addCleanup(prometheus.stop)
        until("a scrape", lambda: prometheus.values('up{job="sluice"} == 1'))
        queries = dashboard_queries()
        self.assertGreater(len(queries), 20)
        for panel, query in queries:
            with self.subTest(panel=panel, query=query):
                until(panel, lambda query=query: prometheus.values(query), 30)
        (rate,) = prometheus.values("sluice_lookup_hit_pages_total / sluice_lookup_pages_total")
        self.assertTrue(0 < rate < 1, rate)  # Load looks up more than it puts
        (ratio,) = prometheus.values("sluice_put_tensor_bytes_total / sluice_put_page_bytes_total")
        self.assertGreater(ratio, 1)
        alerts = until("evaluated alerts", lambda: self.evaluated_alerts(prometheus))
        self.assertEqual(set(alerts), {"SluiceCorruption", "SluiceHitRateDrop", "SluiceDiskFull"})
        self.assertEqual(set(alerts.values()), {"inactive"})

    def evaluated_alerts(self, prometheus: Prometheus) -> dict[str, str]:
        """States by name, once all are known; a rule that cannot be evaluated never is."""
        (group,) = prometheus.api("rules")["data"]["groups"]
        if any(rule["health"] != "ok" for rule in group["rules"]):
            return {}
        return {rule["name"]: rule["state"] for rule in group["rules"] if "state" in rule}

    def test_every_metric_of_dashboard_and_alerts_is_documented(self):
        with open(os.path.join(os.environ["SLUICE_SOURCE"], "docs", "operations.md")) as file:
            documented = set(re.findall(r"^\| `(sluice_\w+)`", file.read(), re.MULTILINE))
        with open(os.path.join(DEPLOY, "prometheus", "alerts.yml")) as file:
            used = [file.read(), *(query for _, query in dashboard_queries())]
        names = set(re.findall(r"(?<!:)\bsluice_\w+(?!\w*:)", "\n".join(used)))
        self.assertLessEqual({re.sub("_(bucket|count|sum)$", "", n) for n in names}, documented)


class UnwellDaemon(unittest.TestCase):
    """Pages of a daemon that drains, that is stopped, and whose thread is stuck; all in seconds."""

    def start(self) -> None:
        self.daemon = harness.Daemon("--admin", "127.0.0.1:0")
        self.addCleanup(self.daemon.stop)
        self.address = admin_address(self.daemon)

    def put_through(self, proxy: harness.CuttingProxy) -> None:
        """Puts a page; never ends where the proxy stops passing bytes."""
        descriptor = identity.small_descriptor()
        with contextlib.suppress(api.Error), api.Client(proxy.address, 60_000) as client:
            space = api.Space(client, descriptor)
            space.put(space.keys(list(range(64))), bytearray(random.randbytes(space.page_bytes)))

    def test_a_daemon_that_drains_is_healthy_but_not_ready_and_ends(self):
        self.start()
        proxy = harness.CuttingProxy(self.daemon)
        self.addCleanup(proxy.close)
        half_way = threading.Event()
        proxy.arm("put", 8192, half_way.set)
        client = threading.Thread(target=self.put_through, args=(proxy,))
        client.start()
        self.addCleanup(client.join)
        self.assertTrue(half_way.wait(START_S))
        until("a put", lambda: self.daemon.command("stat")["ram_reserved_bytes"] != 0, 5)
        self.daemon.process.terminate()
        until("503", lambda: fetch(self.address, "/readyz")[0] == 503, 5)
        self.assertIn("draining", fetch(self.address, "/readyz")[1])
        self.assertEqual(fetch(self.address, "/healthz"), (200, "ok\n"))
        self.assertIn("sluice_connections 1\n", fetch(self.address, "/metrics")[1])
        proxy.cut()  # with nothing in flight it need not wait for listen.drain
        self.assertEqual(self.daemon.process.wait(5), 0)
        self.assertIn("event=stopped", self.daemon.log())

    def test_a_stopped_daemon_costs_prometheus_a_scrape_and_comes_back(self):
        self.start()
        prometheus = Prometheus(self.address)
        self.addCleanup(prometheus.stop)
        until("up", lambda: prometheus.values('up{job="sluice"} == 1'))
        self.daemon.process.send_signal(signal.SIGSTOP)
        until("down", lambda: prometheus.values('up{job="sluice"} == 0'), 20)
        self.daemon.process.send_signal(signal.SIGCONT)
        until("up again", lambda: prometheus.values('up{job="sluice"} == 1'), 20)

    def test_a_daemon_whose_thread_is_stuck_is_told_from_one_that_is_well(self):
        """The thread waits for somebody to read its log."""
        log_end, daemon_end = os.pipe()
        fcntl.fcntl(daemon_end, fcntl.F_SETPIPE_SZ, 4096)
        with tempfile.TemporaryDirectory(prefix="sluice-stuck.") as folder:
            path = os.path.join(folder, "s.sock")
            command = [os.environ["SLUICED"], "--socket", path, "--admin", "127.0.0.1:0"]
            process = subprocess.Popen(command, stderr=daemon_end)
            os.close(daemon_end)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            (address,) = re.search(rb" admin=(\S+) ", os.read(log_end, 4096)).groups()
            address = address.decode()
            self.assertEqual(fetch(address, "/healthz")[0], 200)

            def is_stuck() -> bool:
                for _ in range(100):  # each makes a line of its own
                    with socket.socket(socket.AF_UNIX) as peer:
                        peer.connect(path)
                return fetch(address, "/healthz")[0] == 503

            until("503", is_stuck, 20)  # a busy machine reads the connections later
            began = time.monotonic()
            for page in ("/healthz", "/readyz", "/metrics"):
                status, text = fetch(address, page)
                self.assertEqual((status, "did not answer" in text), (503, True), text)
            self.assertLess(time.monotonic() - began, 10)
            reader = threading.Thread(target=read_to_end, args=(log_end,))
            reader.start()
            until("an answer", lambda: fetch(address, "/healthz")[0] == 200, 10)
            process.terminate()
            self.assertEqual(process.wait(20), 0)
            reader.join()
            os.close(log_end)


class Deployed(unittest.TestCase):
    """What lies in deploy/, by the tools that read it."""

    def test_the_rules_are_valid(self):
        rules = os.path.join(DEPLOY, "prometheus", "alerts.yml")
        self.assertEqual(promtool("check", "rules", rules)[0], 0)
        self.assertEqual(
            promtool("check", "config", os.path.join(DEPLOY, "prometheus", "prometheus.yml"))[0], 0
        )

    def test_each_alert_calls_when_it_must_and_only_then(self):
        tests = os.path.join(DEPLOY, "prometheus", "alerts_test.yml")
        status, output = promtool("test", "rules", tests)
        self.assertEqual(status, 0, output)

    def test_the_services_configuration_is_valid(self):
        config = os.path.join(DEPLOY, "systemd", "sluice.toml")
        subprocess.run([os.environ["SLUICED"], "--config", config, "--check-config"], check=True)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze")
    def test_systemd_takes_the_unit_and_finds_it_hardened(self):
        with open(os.path.join(DEPLOY, "systemd", "sluiced.service")) as file:
            text = file.read().replace("/usr/local/bin/sluiced", os.environ["SLUICED"])
        with tempfile.TemporaryDirectory() as folder:
            unit = os.path.join(folder, "sluiced.service")
            with open(unit, "w") as file:
                file.write(text)
            for command in (["verify"], ["security", "--offline=true", "--threshold=20"]):
                done = subprocess.run(
                    ["systemd-analyze", *command, unit], capture_output=True, text=True
                )
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
