#!/bin/sh
# Measure the pack on a machine with an NVIDIA GPU, in --minutes (7.5), and write --json (docs/results/gpu.json, or
# gpu.json in the folder OUT). Takes a Python whose torch finds the GPU (PYTHON, or python3), and installs only what it
# lacks.
#   tools/gpu_evidence.sh [--minutes M] [--json FILE] [--comfyui DIR] [other options of mofe bench --gpu]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$root" "$work/mofe_restore" # the package, whatever the checkout is called
if ! "$python" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "No NVIDIA GPU that the torch of $python can use was found: set PYTHON to a Python with a CUDA build of torch." >&2
    exit 1
fi
for pair in numpy:numpy PIL:pillow safetensors:safetensors transformers:transformers tqdm:tqdm psutil:psutil \
    pytest:pytest; do
    if ! "$python" -c "import ${pair%%:*}" 2>/dev/null; then
        "$python" -m pip install --quiet "${pair##*:}" || echo "${pair##*:} cannot be installed." >&2
    fi
done
cd "$root"
PYTHONPATH=$work "$python" -m mofe_restore.cli bench --gpu --json "${OUT:-docs/results}/gpu.json" "$@"
