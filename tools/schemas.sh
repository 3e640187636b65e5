#!/usr/bin/env bash
# Installs what checks the Kubernetes manifests: a program of PyPI that has the schemas in itself.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=$(cat infra/kubernetes/requirements.txt)
work=$PWD/var/kubernetes
if [ "$(cat "$work/made" 2>/dev/null)" != "$wanted" ]; then
  tools/ensure.sh /usr/bin/python3 python:ensurepip
  /usr/bin/python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q --disable-pip-version-check -r infra/kubernetes/requirements.txt
  printf '%s\n' "$wanted" >"$work/made"
fi
