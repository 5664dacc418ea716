"""Builds on two Ray nodes into a store, disturbs the build ten times, and compares it with one that nobody disturbed.

    sudo python benchmarks/cluster.py [--rows 100000] [--max-tokens 4096]

Each node has a network namespace and folders of its own; so it needs Linux and root. The store is moto, which speaks S3. At the end the
set is checked, and the same variant is built on the cluster and pushed shard by shard to a Hub of the tests.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.hub import environment, hub_server
from tests.stores import BUCKET, Store, store

HOST, HEAD, PORT = "10.77.0.1", "10.77.0.11", 6399
PLACE, VARIANT = f"s3://{BUCKET}/sets", "templated_haystack"
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, **QUIET)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Two namespaces, sx1 and sx2, whose machines reach each other and this one."""
    run("ip", "link", "add", "sxbr", "type", "bridge")
    run("ip", "addr", "add", f"{HOST}/24", "dev", "sxbr")
    run("ip", "link", "set", "sxbr", "up")
    for i in (1, 2):
        run("ip", "netns", "add", f"sx{i}")
        run("ip", "link", "add", f"sxv{i}", "type", "veth", "peer", "name", "eth0", "netns", f"sx{i}")
        run("ip", "link", "set", f"sxv{i}", "master", "sxbr", "up")
        run("ip", "-n", f"sx{i}", "addr", "add", f"10.77.0.1{i}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run("ip", "-n", f"sx{i}", "link", "set", device, "up")
    try:
        yield
    finally:
        for i in (1, 2):
            subprocess.run(["ip", "netns", "del", f"sx{i}"], check=False, **QUIET)
            subprocess.run(["ip", "link", "del", f"sxv{i}"], check=False, **QUIET)
        subprocess.run(["ip", "link", "del", "sxbr"], check=False, **QUIET)


class Cluster:
    """Two Ray nodes, none of which sees the folder of the corpus or the temporary files of the other."""

    def __init__(self, work: Path, variables: dict[str, str]) -> None:
        self.work, self.variables = work, {**os.environ, **variables}
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *numbers: int) -> None:
        for i in numbers:
            place = (
                ("--head", "--port", PORT, "--temp-dir", self.work / "ray")
                if i == 1
                else ("--address", f"{HEAD}:{PORT}")
            )
            ray = Path(sys.executable).with_name("ray")
            more = ("--node-ip-address", f"10.77.0.1{i}", "--num-cpus", 1, "--object-store-memory", 300_000_000)
            words = map(
                str, (ray, "start", "--block", "--disable-usage-stats", "--include-dashboard=false", *place, *more)
            )
            hidden = f"mount --make-rprivate / && mount -t tmpfs none {self.work / 'corpus'} && export TMPDIR={self.work}/node{i}"
            (self.work / f"node{i}").mkdir(exist_ok=True)
            shell = f"{hidden} && exec {' '.join(words)}"
            command = ["ip", "netns", "exec", f"sx{i}", "unshare", "-m", "bash", "-c", shell]
            self.nodes[i] = subprocess.Popen(command, env=self.variables, start_new_session=True, **QUIET)
            time.sleep(10)

    def stop(self, *numbers: int) -> None:
        for i in numbers:
            for process in processes(f"sx{i}"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self.nodes.pop(i).wait()

    def kill_worker(self, number: int) -> None:
        for process in processes(f"sx{number}"):
            with contextlib.suppress(OSError):
                if b"ray::shard_task" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)
                    return

    def driver(self, *words: object, **variables: str) -> "subprocess.Popen[str]":
        command = ["ip", "netns", "exec", "sx1", sys.executable, "-m", "builders", *map(str, words)]
        return subprocess.Popen(
            command, env={**self.variables, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def processes(namespace: str) -> list[int]:
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    drivers = {b"builders", b"spawn_main"}
    return [int(one) for one in found.split() if not any(name in _command(int(one)) for name in drivers)]


def _command(process: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def disturbances(cluster: Cluster, server: Store) -> dict[str, Callable[["subprocess.Popen[str]"], None]]:
    """Ten disturbances by name. After those that end the driver, it is called again."""

    def fault(kind: str, seconds: float) -> None:
        count = iter(range(10**9))
        server.fault = lambda method, path: kind if kind == "expired" or next(count) % 3 == 0 else ""
        time.sleep(seconds)
        server.fault = lambda method, path: ""

    def node(_: object) -> None:
        cluster.stop(2)
        cluster.start(2)

    def head(driver: "subprocess.Popen[str]") -> None:
        cluster.stop(2, 1)
        driver.wait()
        cluster.start(1, 2)

    def cut_off(_: object) -> None:
        run("ip", "link", "set", "sxv2", "down")
        time.sleep(8)
        run("ip", "link", "set", "sxv2", "up")

    return {
        "a worker is killed": lambda _: cluster.kill_worker(1),
        "the store is busy": lambda _: fault("busy", 8),
        "a worker of the other node is killed": lambda _: cluster.kill_worker(2),
        "a node is killed, and comes back": node,
        "the driver is killed": lambda driver: driver.kill(),
        "the store cuts answers off": lambda _: fault("cut", 8),
        "the head is killed, and comes back": head,
        "a node is cut off from the network for 8 seconds": cut_off,
        "the driver is asked to end": lambda driver: driver.terminate(),
        "keys are expired for 8 seconds": lambda _: fault("expired", 8),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--max-tokens", type=int, default=4096)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="synthctx-cluster-")))
        stack.enter_context(network())
        server = stack.enter_context(store(HOST))
        measure(work, server, asked.rows, asked.max_tokens)


def measure(work: Path, server: Store, rows: int, tokens: int) -> None:
    (work / "corpus").mkdir()
    texts = (
        f"The mill of number {i} grinds {i * i} sacks a year, and its wheel is {i % 7} yards wide. " * 7
        for i in range(9000)
    )
    (work / "corpus" / "texts.txt").write_text("\n\n".join(texts))
    options = (VARIANT, "--max-tokens", tokens, "--train", rows, "--validation", 100, "--corpus", work / "corpus")
    cluster = Cluster(work, server.environment)
    cluster.start(1, 2)
    ray = ("--ray", f"{HEAD}:{PORT}")
    command = ("build", "mdqa_synth", *options, "--output", PLACE, *ray)
    try:
        began, driver, ended = time.monotonic(), cluster.driver(*command), 0
        shards = -(-rows * tokens // 2**24) + 1
        for number, (name, disturb) in enumerate(disturbances(cluster, server).items(), 1):
            while len(server.written(".parquet")) < number * shards // 12 and driver.poll() is None:
                time.sleep(0.2)
            disturb(driver)
            if driver.poll() is not None or _ends(driver):
                ended += 1
                said = (driver.communicate()[0] or "").strip().splitlines()[-1:]
                driver = cluster.driver(*command)
            else:
                said = []
            print(
                json.dumps({"disturbance": name, "shards": len(server.written(".parquet")), "driver said": said}),
                flush=True,
            )
        said = driver.communicate()[0]
        print(
            json.dumps({"exit": driver.returncode, "seconds": round(time.monotonic() - began), "called again": ended})
        )
        assert driver.returncode == 0, said
        report(work, server, cluster, options, ray)
    finally:
        cluster.stop(*list(cluster.nodes))


def _ends(driver: "subprocess.Popen[str]") -> bool:
    """True if the driver ends within some seconds."""
    try:
        driver.wait(6)
    except subprocess.TimeoutExpired:
        return False
    return True


def report(work: Path, server: Store, cluster: Cluster, options: tuple[object, ...], ray: tuple[str, ...]) -> None:
    here = [sys.executable, "-m", "builders"]
    variables = {**os.environ, **server.environment}
    subprocess.run(
        [*here, "build", "mdqa_synth", *map(str, options), "--output", str(work / "calm")], check=True, **QUIET
    )
    calm = {file.name: digest(file.read_bytes()) for file in (work / "calm/mdqa_synth" / VARIANT).iterdir()}
    code = (
        "import hashlib, json, sys; from synthctx_data.places import at\n"
        "print(json.dumps({f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in at(sys.argv[1]).iterdir()}))"
    )
    hashes = [sys.executable, "-c", code, f"{PLACE}/mdqa_synth/{VARIANT}"]
    disturbed = json.loads(subprocess.run(hashes, env=variables, check=True, capture_output=True).stdout)
    written = server.written(".parquet")
    print(
        json.dumps({"files": len(calm), "equal": calm == disturbed, "written twice": len(written) - len({*written})}),
        flush=True,
    )
    checked = subprocess.run([*here, "check", f"{PLACE}/mdqa_synth"], env=variables, check=False, **QUIET)
    print(json.dumps({"check": checked.returncode}), flush=True)
    with hub_server() as hub:
        push = (*here, "push", work / "pieces/mdqa_synth", "--repo", "me/set", "--from-variant", *options)
        (work / "pieces").mkdir()
        bridge = subprocess.run(
            [*map(str, push)], env={**variables, **environment(hub, work)}, check=False, capture_output=True, text=True
        )
        commits = len(hub.repos["me/set"].commits) if bridge.returncode == 0 else 0
        print(json.dumps({"push": bridge.returncode, "commits": commits, "said": bridge.stdout.splitlines()[-2:]}))
    shutil.rmtree(work / "pieces", ignore_errors=True)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
