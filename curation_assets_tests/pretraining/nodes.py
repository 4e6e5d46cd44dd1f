"""Two nodes on loopback, as torchrun starts them: each in a folder of its own."""

import os
import socket
import subprocess
import sys


def torchrun(folder, module, *arguments):
    """Run a module on two nodes of one process; return the exit status and the output of each. Folders node0, node1 are made."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = []
    for rank in range(2):
        home = folder / f"node{rank}"
        home.mkdir(exist_ok=True)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={rank}"]
        launcher += ["--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}", "-m", module]
        with (folder / f"log{rank}").open("w") as log:
            nodes.append(
                subprocess.Popen(
                    [*launcher, *arguments],
                    cwd=home,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
                    stdout=log,
                    stderr=log,
                )
            )
    try:
        codes = [node.wait(timeout=150) for node in nodes]
    finally:
        for node in nodes:
            node.terminate()  # torchrun, which ends what it started
            node.wait()
    return codes, [(folder / f"log{rank}").read_text() for rank in range(2)]
