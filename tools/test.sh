#!/usr/bin/env bash
# Installs what the tests need and runs every one of them. Go is all that must
# be there.
# Usage: tools/test.sh [go test flags]
set -euo pipefail
cd "$(dirname "$0")/.."

tools/ensure.sh redis-server python3
exec "${GO:-go}" test -count=1 "$@" ./...
