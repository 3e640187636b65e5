#!/usr/bin/env bash
# Passes on what a test run prints and ends with its line RESULT NAME, which it
# takes from the run. Fails when the run did, or printed none.
# Usage: COMMAND | tools/result.sh NAME
set -euo pipefail

result=
failed=0
while IFS= read -r line; do
  case "$line" in
    "RESULT $1 "*) result=$line ;;
    FAIL*) failed=1; printf '%s\n' "$line" ;;
    *) printf '%s\n' "$line" ;;
  esac
done
[ -n "$result" ] || { echo "no RESULT $1" >&2; exit 1; }
printf '%s\n' "$result"
exit "$failed"
