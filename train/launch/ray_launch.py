"""One process a node of a Ray cluster, each with all its GPUs; what follows -- is its command.

python train/launch/ray_launch.py --nodes 2 --gpus 8 -- -m train.gan --run /shared/run

Ray places and watches the processes; JAX's runtime joins them. Where one fails or its node goes,
the others end too, and all are started again, on from the checkpoint.
"""

import argparse
import os
import socket
import subprocess
import sys
from typing import Any

PORT = 1234
MISTAKE = 2  # in the options: a restart does not mend it


def work(command: list[str], address: str, count: int, index: int) -> int:
    """Runs the command as one process of ``count``; its exit code."""
    env = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count)}
    env["JAX_PROCESS_ID"] = str(index)
    return subprocess.run([sys.executable, *command], env=os.environ | env).returncode


def address() -> str:
    """Where the first process listens: on the node that this runs on."""
    return f"{socket.gethostbyname(socket.gethostname())}:{PORT}"


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
    for _ in range(options.restarts + 1):
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
        if not any(codes) or MISTAKE in codes:
            break
        print(f"ended with {codes}; starting again", file=sys.stderr)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
