#!/usr/bin/env bash
# Writes the Python bindings of the contract, and their types, into a folder. The
# bindings of Debian's protoc work with protobuf 4.21 and every later one.
# Usage: tools/gen-python.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."

tools/ensure.sh protoc /usr/include/google/protobuf/struct.proto
folder=${1:-python/src/weatherlight/_wire}
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
protoc --proto_path=proto --python_out="$fresh" --pyi_out="$fresh" proto/esper/leyline/v1/leyline.proto
mv "$fresh"/esper/leyline/v1/leyline_pb2.py "$fresh"/esper/leyline/v1/leyline_pb2.pyi "$folder"
