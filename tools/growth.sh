#!/usr/bin/env bash
# What growing is worth: the runs of python/growth that have no result yet, and the page
# that is made of all of them (docs/growth.md). A run that was broken off goes on.
# Usage: tools/growth.sh [arguments of python -m growth run]
set -euo pipefail
cd "$(dirname "$0")/.."

work=$PWD/var/growth
venv=$work/venv
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

tools/ensure.sh /usr/bin/python3 python:ensurepip python:torch python:onnx python:redis \
  python:google.protobuf /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
${GO:-go} build -o bin/ ./cmd/esper-weatherlight-service
export WEATHERLIGHT_BINARY=$PWD/bin/esper-weatherlight-service

if ! cmp -s python/requirements/growth.txt "$venv/made"; then
  mkdir -p "$work"
  /usr/bin/python3 -m venv --system-site-packages "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check --no-deps -r python/requirements/growth.txt
  cp python/requirements/growth.txt "$venv/made"
fi
cd python
PYTHONPATH=$PWD/src:$PWD exec "$venv/bin/python" -m growth run "$@"
