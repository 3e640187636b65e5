#!/usr/bin/env bash
# Installs what the tests need and runs every one of them. Go is all that must
# be there.
# Usage: tools/test.sh [go test flags]
set -euo pipefail
cd "$(dirname "$0")/.."

tools/ensure.sh redis-server python3 /usr/bin/python3 python:redis python:google.protobuf \
  protoc /usr/include/google/protobuf/struct.proto /usr/lib/postgresql/15/bin/postgres minisign gcc /usr/include/stdlib.h \
  docker-compose systemd-analyze promtool amtool prometheus prometheus-alertmanager \
  tmux make node npm chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
tools/schemas.sh
make --silent nissa/internal/page/node_modules/.package-lock.json
exec "${GO:-go}" test -count=1 "$@" ./...
