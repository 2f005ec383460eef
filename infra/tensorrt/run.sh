#!/usr/bin/env bash
# Build, parity and bench of TensorRT engines inside NVIDIA's container; see README.md. Not executed so far: no GPU was at hand.
#   infra/tensorrt/run.sh BUNDLE SHARDS OUT [MODEL]
set -euo pipefail
bundle=$(realpath "$1") shards=$(realpath "$2") out=$(realpath -m "$3") model=${4:+$(realpath "$4")}
image=${IMAGE:-nvcr.io/nvidia/tensorrt:25.10-py3}
root=$(realpath "$(dirname "$0")/../..")
mkdir -p "$out"
mounts=(-v "$root:/src:ro" -v "$bundle:/bundle:ro" -v "$shards:/shards:ro" -v "$out:/out")
[ -z "$model" ] || mounts+=(-v "$model:/model:ro")
docker run --rm --gpus all "${mounts[@]}" "$image" bash -euxc '
  nvidia-smi
  cp -r /src /tmp/src
  python -m venv --system-site-packages /tmp/venv && . /tmp/venv/bin/activate
  pip install -q --no-deps /tmp/src
  pip install -q -r /tmp/src/serving/requirements.txt onnx cuda-python
  pip uninstall -q -y onnxruntime && pip install -q onnxruntime-gpu
  rm -rf /out/engines
  cerebeam tensorrt /bundle --library tensorrt --precision fp32 fp16 int8 --ranges /shards --check /shards --output /out/engines
  cerebeam bench /bundle --output /out/bench-cpu.json
  CEREBEAM_PROVIDER=CUDA cerebeam bench /bundle --output /out/bench-cuda.json
  CEREBEAM_PROVIDER=Tensorrt cerebeam bench /bundle --output /out/bench-tensorrt.json
' 2>&1 | tee "$out/run.log"
