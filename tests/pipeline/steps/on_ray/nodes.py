"""Two Ray nodes of this machine on the loopback address, ended by their process ids."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

BIN = Path(sys.executable).parent
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "token",  # nobody else may run code on these nodes
    "RAY_AUTH_TOKEN": token_hex(32),
    "RAY_DEDUP_LOGS": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less to start
    "RAY_memory_monitor_refresh_ms": "0",  # else a busy machine's workers are killed, too
}


@contextmanager
def two_nodes(folder):
    """Start a cluster with one CPU on each node; yields its address and the processes of its nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    port = address.split(":")[1]
    head = ["--head", "--port", port, "--temp-dir", str(folder), "--include-dashboard", "false"]
    nodes = [_node("head", [*head, "--disable-usage-stats"], folder)]
    try:
        wait_for(lambda: _is_listening(int(port)), nodes[0], 60)
        nodes.append(_node("second", ["--address", address], folder))
        yield address, nodes
    finally:
        for node in nodes:  # 'ray stop' would end all nodes of the machine
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()


def _node(name, arguments, folder):
    size = ["--num-cpus", "1", "--object-store-memory", "80000000"]
    with (folder.parent / f"{name}.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            [BIN / "ray", "start", "--block", "--node-ip-address", "127.0.0.1", *size, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            start_new_session=True,
        )


def _is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(look, process, seconds):
    """What ``look`` finds, while a process lives."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert process.poll() is None, f"{process.args} has ended"
        assert time.monotonic() < end, f"not found within {seconds} s"
        time.sleep(0.002)
    return found


def busy_workers(nodes, title):
    """Process ids of the nodes' workers that run the task or actor ``title`` right now."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
            parents[int(folder.name)] = int(words[1])
    ours = {node.pid for node in nodes}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return [pid for pid in ours if _title(pid).startswith(title)]


def _title(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8").rstrip("\0 ")
    return ""


def process_of_rank(log, rank):
    """The process id of a rank, from what the workers have logged; None if it is not there yet."""
    found = re.search(rf"rank {rank} of 2 is process (\d+)", log.read_text("utf-8"))
    return found and int(found[1])
