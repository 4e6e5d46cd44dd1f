"""Two nodes on loopback, each in a folder of its own."""

import os
import socket
import subprocess
import sys


def two_nodes(folder, module, *arguments, by_torchrun=False):
    """Run a module on two nodes of one process; return the exit status and the output of each. Folders node0, node1 are made.

    They are started by torchrun, or, which takes half as long, with the environment variables that it sets.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    nodes = []
    for rank in range(2):
        home = folder / f"node{rank}"
        home.mkdir(exist_ok=True)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable]
        if by_torchrun:
            command += ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
            command += [f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"]
        else:
            environment |= meeting | {"RANK": str(rank), "LOCAL_RANK": "0"}
        with (folder / f"log{rank}").open("w") as log:
            nodes.append(
                subprocess.Popen(
                    [*command, "-m", module, *arguments], cwd=home, env=environment, stdout=log, stderr=log
                )
            )
    try:
        codes = [node.wait(timeout=150) for node in nodes]
    finally:
        for node in nodes:
            node.terminate()  # torchrun ends what it started
            node.wait()
    return codes, [(folder / f"log{rank}").read_text() for rank in range(2)]
