#!/usr/bin/env bash
# Builds Horovod's PyTorch part from its source distribution and installs it: install.sh PYTHON
# Needs a C++17 compiler, make and cmake; about two minutes on two cores. The CPU form speaks gloo; on a machine with
# NCCL set HOROVOD_GPU_OPERATIONS=NCCL before calling.
set -euo pipefail
version=0.28.1
python=${1:?usage: install.sh PYTHON}
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")  # not resolved: a venv knows itself by its link
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m pip install -q --no-deps setuptools wheel packaging cloudpickle psutil pyyaml
"$python" -m pip download -q --no-deps --no-binary=:all: --no-build-isolation -d "$work" "horovod==$version"
tar -xzf "$work/horovod-$version.tar.gz" -C "$work"
cd "$work/horovod-$version"
# PyTorch's headers have asked for C++17 since 2.1; this release still says 14.
sed -i 's/set(CMAKE_CXX_STANDARD 14)/set(CMAKE_CXX_STANDARD 17)/' CMakeLists.txt horovod/torch/CMakeLists.txt
export HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1
if [ -z "${HOROVOD_GPU_OPERATIONS:-}" ]; then
    export HOROVOD_CPU_OPERATIONS=GLOO
fi
"$python" -m pip wheel -q --no-deps --no-build-isolation -w "$work/wheel" .
"$python" -m pip install -q --no-deps "$work"/wheel/horovod-*.whl
cd /
"$python" -c "import horovod.torch as hvd; hvd.init(); print('horovod', '$version', 'size', hvd.size())"
