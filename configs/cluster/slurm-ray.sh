#!/bin/bash
#SBATCH --job-name=carnac-ray
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=120G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=carnac-ray-%j.log
# sbatch --export=ALL,CONFIG=config.yaml slurm-ray.sh: a Ray cluster for as long as the job lasts, the run on its head.
set -euo pipefail
: "${CONFIG:?name the configuration: sbatch --export=ALL,CONFIG=config.yaml}"
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n') # of this job alone; srun hands it on
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
port=$((20000 + SLURM_JOB_ID % 20000))
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS="$head:$port"

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
until srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap ray status > /dev/null 2>&1; do sleep 2; done
if ((SLURM_NNODES > 1)); then
    srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --exclude="$head" --overlap \
        ray start --address="$RAY_ADDRESS" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap carnac run "$CONFIG" --engine ray
