#!/usr/bin/env bash
# Installs what is missing from Debian's packages: commands, modules of Debian's
# own Python (whatever python3 is on the path) and header files.
# Usage: tools/ensure.sh COMMAND|python:MODULE|/FILE...
set -euo pipefail

# package_of NEED prints the Debian package that holds it.
package_of() {
  case "$1" in
    node) echo nodejs ;;
    protoc) echo protobuf-compiler ;;
    systemd-analyze) echo systemd ;;
    promtool) echo prometheus ;;
    amtool) echo prometheus-alertmanager ;;
    /usr/bin/python3) echo python3 ;;
    python:redis) echo python3-redis ;;
    python:google.protobuf) echo python3-protobuf ;;
    python:ensurepip) echo python3-venv ;;
    python:torch) echo python3-torch ;;
    python:onnx) echo python3-onnx ;;
    python:cryptography) echo python3-cryptography ;;
    /usr/include/google/protobuf/*) echo libprotobuf-dev ;;
    /usr/include/stdlib.h) echo libc6-dev ;;
    /usr/lib/postgresql/*) echo postgresql ;;
    /usr/share/fonts/truetype/dejavu/*) echo fonts-dejavu-core ;;
    /usr/share/datasets/fashion-mnist/*) echo dataset-fashion-mnist ;;
    *) echo "$1" ;;
  esac
}

# present NEED tells whether it is there.
present() {
  case "$1" in
    python:*) /usr/bin/python3 -c "import ${1#python:}" ;;
    /*) [ -e "$1" ] ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

missing=()
for need in "$@"; do
  present "$need" || missing+=("$(package_of "$need")")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "please install: ${missing[*]} (this machine has no apt-get)" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null 2>&1 || { echo "please install as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing ${missing[*]} from Debian" >&2
"${as_root[@]}" apt-get update -qq >&2
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
  # The tests start servers of their own: the package is not to start one as well.
  "${as_root[@]}" mkdir -p /etc/postgresql-common/createcluster.d
  echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.d/weatherlight.conf >/dev/null
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
