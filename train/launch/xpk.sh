#!/bin/bash
# TPUs of GKE by XPK: one process a host, found by what GKE tells each pod. IMAGE is that of the
# Dockerfile beside this file, built with --build-arg EXTRA=tpu. RUN and the cache are folders on a
# volume that the cluster mounts in every pod (xpk storage), with locks that hold between machines:
# Filestore has them, a bucket has not.
set -euo pipefail
: "${CLUSTER:?name of the cluster}" "${IMAGE:?image of the Dockerfile beside this file}"
RUN=${RUN:-/shared/runs/large}
DATA=${DATA:-folder:/shared/clips}
SLICES=${SLICES:-1}
BATCH=${BATCH:-$((256 * SLICES))}   # a multiple of 64 devices a slice x compute.accumulate, 4

# XPK restarts after 127 to 255 by itself: 134, 143 and the like. After 2, 65, 73, 74 it ends.
xpk workload create \
  --cluster="$CLUSTER" \
  --workload="${WORKLOAD:-jaxvid}" \
  --tpu-type="${TPU:-v5p-128}" \
  --num-slices="$SLICES" \
  --docker-image="$IMAGE" \
  --env=JAXVID_CACHE=/shared/cache \
  --max-restarts=100 \
  --restart-on-exit-codes=1,75 \
  --termination-grace-period-seconds=300 \
  --command="python -m train.gan --preset large --data '$DATA' --run '$RUN' --mesh.fsdp=8 --train.batch-size=$BATCH"
