#!/usr/bin/env bash
# Simulates days of the service and runs that grow, and ends with one line
# RESULT sim of both. Fails when one of them did. The first knows -hours beside
# -seeds and -seed, the second does not.
# Usage: tools/sim.sh [-seeds N] [-seed N] [-hours N]   (bin/sim.test and bin/simruns.test are built)
set -uo pipefail
cd "$(dirname "$0")/.."

days=(-seeds 1000 -hours 24) runs=(-seeds 1000)
while [ $# -gt 0 ]; do
  days+=("$1")
  case "$1" in
    -hours) days+=("${2-}"); shift ;;
    -hours=*) ;;
    *) runs+=("$1") ;;
  esac
  shift
done

failed=0

# part FOLDER NAME TEST ARGUMENTS... runs one of them; its line RESULT NAME stays
# in $result, everything else is printed.
part() {
  local folder=$1 name=$2
  shift 2
  result=
  exec 3< <(cd "$folder" && "$@" 2>&1; echo "status $?")
  while IFS= read -r line <&3; do
    case "$line" in
      "RESULT $name "*) result=${line#"RESULT $name "} ;;
      "status 0") ;;
      "status "*) failed=1 ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
  [ -n "$result" ] || { echo "no RESULT $name" >&2; exit 1; }
}

# value NAME prints a value of $result.
value() { grep -oE "(^| )$1=[0-9]+" <<<"$result" | cut -d= -f2; }

bin=$PWD/bin
part internal/simtest sim "$bin/sim.test" -test.run '^TestSimulation$' -test.v -test.timeout 6h "${days[@]}"
first="seeds=$(value seeds) hours=$(value hours)"
violations=$(value violations)
part weatherlight/internal/runsimtest sim-runs "$bin/simruns.test" -test.run '^TestRuns$' -test.v -test.timeout 6h "${runs[@]}"
printf 'RESULT sim %s violations=%d runs=%s orders=%s twice=%s\n' \
  "$first" $((violations + $(value violations))) "$(value runs)" "$(value orders)" "$(value twice)"
exit "$failed"
