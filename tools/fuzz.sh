#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time, one after another.
# Usage: tools/fuzz.sh [TIME]
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-30s}
count=0
while IFS=: read -r file target; do
  echo "== $(dirname "$file") $target"
  "${GO:-go}" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "./$(dirname "$file")"
  count=$((count + 1))
done < <(git ls-files --cached --others --exclude-standard -- '*_test.go' ':!bench' ':!tools' |
  xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort)
[ "$count" -gt 0 ] || { echo "no fuzz target found" >&2; exit 1; }
echo "$count fuzz targets, $time each"
