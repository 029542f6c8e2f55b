#!/bin/bash
# TPUs of GKE by XPK: one process a host, found by what GKE tells each pod. RUN is a folder on a
# volume that the cluster mounts in every pod (xpk storage).
set -euo pipefail
: "${CLUSTER:?name of the cluster}" "${IMAGE:?image of the Dockerfile beside this file}"
RUN=${RUN:-/shared/runs/large}
DATA=${DATA:-folder:/shared/clips}

xpk workload create \
  --cluster="$CLUSTER" \
  --workload="${WORKLOAD:-jaxvid}" \
  --tpu-type="${TPU:-v5p-128}" \
  --num-slices="${SLICES:-1}" \
  --docker-image="$IMAGE" \
  --max-restarts=100 \
  --command="python -m train.gan --preset large --data '$DATA' --run '$RUN' --mesh.fsdp=8 --train.batch-size=256"
