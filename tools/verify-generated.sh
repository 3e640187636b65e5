#!/usr/bin/env bash
# Fails when the committed generated code is not what the contracts generate.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
node_modules/.bin/buf generate -o "$fresh"
bindings=python/src/weatherlight/_wire
mkdir -p "$fresh/$bindings"
tools/gen-python.sh "$fresh/$bindings"

stale=0
files=$({ (cd "$fresh" && find . -name '*.pb.go' -o -name '*_pb2.py*'); git ls-files '*.pb.go' '*_pb2.py*' | sed 's|^|./|'; } | sort -u)
for file in $files; do
  cmp -s "$fresh/$file" "$file" || { echo "$file is not what the contract generates (make gen)" >&2; stale=1; }
done
exit "$stale"
