#!/usr/bin/env bash
# A sweep on a Slurm cluster: a Ray head and its workers, one task per node, for the job's duration.
#   sbatch cluster/deploy/slurm.sh my.yaml --budget.minutes 600
# Submit it from a folder that all nodes see, with Chorale installed in its .venv (or set VENV).
# Before the time limit the sweep stops cleanly and is requeued, to resume.
#SBATCH --job-name=chorale
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

if [ "$#" -eq 0 ]; then
  echo "usage: sbatch cluster/deploy/slurm.sh SWEEP.yaml [--key value ...]" >&2
  exit 2
fi
venv=${VENV:-$PWD/.venv}
export PATH="$venv/bin:$PATH" RAY_USAGE_STATS_ENABLED=0

# Other users of these machines reach Ray's ports, so Ray requires a token. It is in a file that only
# you can read and that is removed with the job.
token=$(mktemp "$PWD/.chorale-token-XXXXXX")   # made 0600
python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$token"
chmod 600 "$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$token"

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000))         # Ray's workers take 10002 to 19999
cpus=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}

clean() {
  kill "${ray[@]}" 2> /dev/null || true
  wait || true
  rm -f "$token"
}
ray=()
trap clean EXIT

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --block --node-ip-address="$address" --port="$port" \
  --dashboard-host=127.0.0.1 --num-cpus="$cpus" --num-gpus="$gpus" &
ray+=($!)
for _ in $(seq 60); do
  if ray health-check --address "$address:$port" > /dev/null 2>&1; then break; fi
  sleep 2
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  others=$((SLURM_JOB_NUM_NODES - 1))
  srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head" \
    ray start --block --address="$address:$port" --num-cpus="$cpus" --num-gpus="$gpus" &
  ray+=($!)
fi

chorale sweep "$@" --continue --cluster.address "$address:$port" &
sweep=$!
late=0
trap 'late=1; kill -TERM "$sweep"' TERM
code=0
wait "$sweep" || code=$?
if [ "$late" -eq 1 ]; then
  wait "$sweep" || true                        # the first wait was ended by the signal
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
