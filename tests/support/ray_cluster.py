"""A Ray cluster on this machine: every node has a loopback address of its own. Ended by process ids."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.app import ROOT, free_port

RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
MEMORY = "--object-store-memory=100000000"
HEAD = "127.0.0.4"
START_S = 180.0
QUIET = {"HF_HUB_OFFLINE": "1", "RAY_enable_worker_prestart": "0", "RAY_raylet_start_wait_time_s": f"{START_S:.0f}"}
QUIET |= {"RAY_NUM_REDIS_GET_RETRIES": "150", "RAY_gcs_server_request_timeout_seconds": "120"}


class Node:
    """A machine of the cluster. `data`: its `WAN_DATA_DIR`."""

    def __init__(self, address: str, data: Path, arguments: list[str], log: Path) -> None:
        self.address = address
        self.data = data
        environment = os.environ | QUIET | {"WAN_DATA_DIR": str(data), "PYTHONPATH": str(ROOT)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *RAY,
                    f"--node-ip-address={address}",
                    "--num-cpus=0",
                    MEMORY,
                    "--include-log-monitor=false",
                    *arguments,
                ],
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_until_up(log)

    def kill(self) -> None:
        """SIGKILL of its raylet, as a power cut would do; the rest follows."""
        for pid in self.processes():
            if "raylet/raylet" in _command(pid):
                os.kill(pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Let all of it hang, without an end."""
        for pid in self.processes_of_folder():
            os.kill(pid, signal.SIGSTOP)

    def stop(self) -> None:
        """End it with everything that it has started."""
        pids = [self.process.pid, *self.processes()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for pid in self.processes_of_folder():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Every process that descends from it."""
        found, todo = [], [self.process.pid]
        while todo:
            for path in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
                with suppress(OSError):
                    children = [int(pid) for pid in path.read_text().split()]
                    found += children
                    todo += children
        return found

    def processes_of_folder(self) -> list[int]:
        """Those that work on its folder, whoever is their parent now."""
        variable = f"WAN_DATA_DIR={self.data}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if variable in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found

    def _wait_until_up(self, log: Path) -> None:
        end = time.monotonic() + START_S
        while "will now block" not in log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"{self.address} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)


class RayCluster:
    """A head that makes no clips, and machines with room for one clip each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # sockets lie in it: its path must be short
        self.port = free_port()
        self.nodes: dict[str, Node] = {}
        self._start(HEAD, ["--head", f"--port={self.port}", f"--temp-dir={folder}/ray"])

    @property
    def address(self) -> str:
        return f"{HEAD}:{self.port}"

    def join(self, address: str, workers: int = 1) -> Node:
        """One after the other: nodes that start together take each other's sockets."""
        arguments = [f"--address={self.address}", f'--resources={{"wan": {workers}}}']
        return self._start(address, arguments)

    def close(self) -> None:
        for node in reversed(self.nodes.values()):
            node.stop()

    def _start(self, address: str, arguments: list[str]) -> Node:
        data = self.folder / f"data-{address}-{len(self.nodes)}"
        log = self.folder / f"{address}-{len(self.nodes)}.log"
        more = ["--include-dashboard=false"] if "--head" in arguments else []
        try:
            node = Node(address, data, arguments + more, log)
        except AssertionError:  # a busy machine: Ray gives some of its own steps seconds
            node = Node(address, data, arguments + more, log)
        self.nodes[f"{address} {len(self.nodes)}"] = node
        return node


@contextmanager
def a_ray_cluster(*addresses: str) -> Iterator[RayCluster]:
    """Yield once the nodes are up."""
    folder = Path(tempfile.mkdtemp(prefix="wr-", dir="/tmp"))
    cluster = RayCluster(folder)
    try:
        for address in addresses:
            cluster.join(address)
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""
