#!/usr/bin/env bash
# Runs every fuzz target of the module, one after another, each for a time (30s)
# or for a number of inputs (20000x). Before Go 1.27 a time may end with a false
# "context deadline exceeded" (go.dev/issue/75804); a number cannot.
# Usage: tools/fuzz.sh [TIME|NUMBERx]
set -euo pipefail
cd "$(dirname "$0")/.."

budget=${1:-30s}
count=0
while IFS=: read -r file target; do
  echo "== $(dirname "$file") $target"
  "${GO:-go}" test -run '^$' -fuzz "^$target\$" -fuzztime "$budget" -fuzzminimizetime 1x "./$(dirname "$file")"
  count=$((count + 1))
done < <(git ls-files --cached --others --exclude-standard -- '*_test.go' ':!bench' ':!tools' |
  xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | sort)
[ "$count" -gt 0 ] || { echo "no fuzz target found" >&2; exit 1; }
echo "$count fuzz targets, $budget each"
