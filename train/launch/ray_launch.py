"""One process a node of a Ray cluster, each with all its GPUs; what follows -- is its command.

python train/launch/ray_launch.py --nodes 2 --gpus 8 -- -m train.gan --run /shared/run

Ray places and watches the processes; JAX's runtime joins them. Where one fails or its node goes,
the others end too, and all are started again, on from the checkpoint. They run in the checkout that
this file is in: every node must have it, at the same path.
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).absolute().parents[2]  # of the checkout
PORT = 1234
MISTAKE = 2
FINAL = (MISTAKE, 65, 73, 74)  # exit codes that a restart does not mend: README.md
PAUSE = 10.0  # seconds before a restart


def work(command: list[str], address: str, count: int, index: int) -> int:
    """Runs the command in the checkout as one process of ``count``; its exit code."""
    if not ROOT.is_dir():
        host = socket.gethostname()
        print(f"error: {host} has no {ROOT}; put the checkout there on every node", file=sys.stderr)
        return MISTAKE
    env = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    env["JAX_PROCESS_ID"] = str(index)
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=os.environ | env).returncode


def address() -> str:
    """Where the first process listens: on the node that this runs on."""
    import ray

    return f"{ray.util.get_node_ip_address()}:{PORT}"


def main() -> int:
    """Starts the processes, as often as it takes; the exit code of the last time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--gpus", type=int, default=8, help="of each node")
    parser.add_argument("--restarts", type=int, default=100)
    parser.add_argument("command", nargs="+", help="after --: what python is given")
    options = parser.parse_args()

    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    ray.init()
    group = placement_group([{"GPU": options.gpus, "CPU": 1}] * options.nodes, "STRICT_SPREAD")
    ray.get(group.ready())

    def on(node: int, function: Any, gpus: int) -> Any:
        place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node)
        return ray.remote(function).options(
            num_gpus=gpus, num_cpus=1, scheduling_strategy=place, max_retries=0
        )

    codes: list[int] = [1]
    for restart in range(options.restarts + 1):
        if restart:
            time.sleep(PAUSE)
        try:
            first = ray.get(on(0, address, 0).remote())
            codes = ray.get(
                [
                    on(i, work, options.gpus).remote(options.command, first, options.nodes, i)
                    for i in range(options.nodes)
                ]
            )
        except ray.exceptions.RayError as error:
            print(f"a node was lost: {error}", file=sys.stderr)
            continue
        print(f"ended with {codes}", file=sys.stderr)
        if not any(codes):
            return 0
        if final := [code for code in codes if code in FINAL]:
            return final[0]
    return next(code for code in codes if code)


if __name__ == "__main__":
    sys.exit(main())
