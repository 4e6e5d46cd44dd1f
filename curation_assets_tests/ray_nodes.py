"""A Ray cluster of this machine: a head without CPUs, on which the run is, and two nodes with one each."""

from __future__ import annotations

import secrets
from typing import Any

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all servers of Ray's on loopback
}
"""What a process needs before it imports Ray, which reads mode and token once: so there is one token for all its clusters."""

_SMALL: dict[str, Any] = {"object_store_memory": 80 << 20}


class TwoNodes:
    """The nodes, started; the environment is to be as above."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(True, head_node_args={"num_cpus": 0, **_SMALL})
        self.address = self._cluster.address
        self.nodes = [self.add() for _ in range(2)]

    def add(self) -> Any:
        """Add a node."""
        return self._cluster.add_node(num_cpus=1, **_SMALL)

    def remove(self, node: Any) -> None:
        """Kill all of a node, as where its machine is gone."""
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)

    def shutdown(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()
