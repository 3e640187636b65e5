#!/usr/bin/env bash
# What the Python package must pass: lint, types, tests against a real Redis and the real
# service, and the built wheel in an empty environment, where it runs the README's example.
# Usage: tools/python.sh debian|current [pytest arguments]
# debian takes PyTorch from Debian's packages, current the newest one of PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

which=${1:-debian}
shift || true
work=$PWD/var/python/$which
venv=$work/venv
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# environment FOLDER makes a virtual environment, with Debian's modules where they are wanted.
environment() {
  if [ "$which" = debian ]; then
    /usr/bin/python3 -m venv --system-site-packages "$1"
  else
    /usr/bin/python3 -m venv "$1"
  fi
}

tools/ensure.sh redis-server /usr/bin/python3 python:ensurepip
if [ "$which" = debian ]; then
  tools/ensure.sh python:torch python:onnx python:redis python:google.protobuf python:cryptography
fi
${GO:-go} build -o bin/ ./cmd/esper-weatherlight-service
export WEATHERLIGHT_BINARY=$PWD/bin/esper-weatherlight-service

if ! cmp -s "python/requirements/$which.txt" "$venv/made"; then
  mkdir -p "$work"
  environment "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r "python/requirements/$which.txt"
  cp "python/requirements/$which.txt" "$venv/made"
fi
cd python
if [ "$which" = debian ]; then
  "$venv/bin/ruff" check .
  "$venv/bin/ruff" format --check .
  "$venv/bin/mypy"
fi
PYTHONPATH=$PWD/src "$venv/bin/python" -m pytest -q "$@"

# The package as people get it: built, installed, and used from there.
rm -rf "$work/dist" "$work/empty"
"$venv/bin/python" -m build -q --no-isolation --outdir "$work/dist" .
if [ "$which" = debian ]; then
  environment "$work/empty"
  "$work/empty/bin/pip" install -q --disable-pip-version-check --no-index "$work"/dist/*.whl
  cd "$work"
  "$work/empty/bin/python" -I "$OLDPWD/tests/readme.py" "$OLDPWD/README.md"
else
  "$venv/bin/pip" install -q --disable-pip-version-check --no-index --no-deps --force-reinstall "$work"/dist/*.whl
  cd "$work"
  "$venv/bin/python" -I "$OLDPWD/tests/readme.py" "$OLDPWD/README.md"
fi
