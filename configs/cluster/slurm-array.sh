#!/bin/bash
#SBATCH --job-name=carnac
#SBATCH --array=0-15
#SBATCH --cpus-per-task=32
#SBATCH --mem=120G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=carnac-%A-%a.log
# sbatch --export=ALL,CONFIG=config.yaml slurm-array.sh: every task does its share, none knows of the others but by the
# output folder, which all of them see. Array tasks must be numbered from 0.
set -euo pipefail
: "${CONFIG:?name the configuration: sbatch --export=ALL,CONFIG=config.yaml}"
exec srun carnac run "$CONFIG" --part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --wait 86400 \
    --set "engine.workers=$SLURM_CPUS_PER_TASK"
