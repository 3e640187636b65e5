#!/usr/bin/env bash
# Prints the version of a Debian package for what git describe says. Debian sorts a tilde before the end and a
# plus after it: v1.2.0-rc.1 comes before v1.2.0, and the fifth commit after that one behind it. Where no tag is,
# the number of commits tells which is newer.
# Usage: tools/debian-version.sh DESCRIBED COMMITS
set -euo pipefail

commit='-([0-9]+)-(g[0-9a-f]+)$'
case $1 in
  v[0-9]*)
    tag=${1#v} since=
    if [[ $tag =~ $commit ]]; then
      tag=${tag%"${BASH_REMATCH[0]}"} since=+${BASH_REMATCH[1]}.${BASH_REMATCH[2]}
    fi
    echo "${tag/-/\~}$since"
    ;;
  *) echo "0~$2.g$1" ;;
esac
