#!/usr/bin/env bash
# Builds what a release of HEAD has, whatever else lies in the working tree, into a folder: static commands
# with their bills of materials, Debian packages, the context of a container image, checksums. Then all of it
# once more, in another folder, with nothing compiled before, and says whether that came to the same bytes; and
# installs the package and the image, and starts what they hold, as root (infra/release_*test.go).
# Usage: tools/release.sh [--unchecked] [--platforms "OS/ARCHITECTURE..."] [FOLDER]   (dist)
# --unchecked builds once, and looks at nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

check=true
platforms="linux/amd64 linux/arm64 darwin/arm64"
while [ $# -gt 0 ]; do
  case $1 in
    --unchecked) check=false ;;
    --platforms) platforms=$2; shift ;;
    -*) sed -n 's/^# Usage: /usage: /p' tools/release.sh >&2; exit 2 ;;
    *) break ;;
  esac
  shift
done
dist=$(realpath -m "${1:-dist}")

commit=$(git rev-parse HEAD)
version=$(git describe --tags --always "$commit")
debian_version=$(tools/debian-version.sh "$version" "$(git rev-list --count "$commit")")
commands=(esper-weatherlight-service esper-nissa-service esperctl)
[ -z "$(git status --porcelain)" ] || echo "what is not committed is not in the release $version" >&2

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
toolchain=$(sed -n 's/^go /go/p' go.mod)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# settle settles what else has a say in the bytes. The toolchain is the one that go.mod names.
settle() {
  export SOURCE_DATE_EPOCH CGO_ENABLED=0 GOFLAGS=-trimpath GOTOOLCHAIN=$toolchain GOWORK=off GOEXPERIMENT=
  export GOAMD64=v1 GOARM64=v8.0 LC_ALL=C
}

# tools makes what makes the packages and the bills of materials.
tools() (
  settle
  for tool in github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod github.com/goreleaser/nfpm/v2/cmd/nfpm; do
    go build -modfile=tools/release.mod -o "$work/tools/" "$tool"
  done
)

# pack FOLDER FILE makes an archive that depends on what the files hold, and on their modes, alone.
pack() {
  tar --create --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --mtime="@$SOURCE_DATE_EPOCH" --directory "$(dirname "$1")" "$(basename "$1")" | gzip -n >"$2"
}

# licences OS ARCHITECTURE prints those of all that is linked in.
licences() {
  local path folder files
  printf '=== Go\n\n' && cat "$(go env GOROOT)/LICENSE"
  GOOS=$1 GOARCH=$2 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/... | sort -u |
    while read -r path folder; do
      files=$(find "$folder" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort)
      [ -n "$files" ] || { echo "$path comes without a licence" >&2; exit 1; }
      printf '\n=== %s\n\n' "$path" && xargs -d '\n' cat <<<"$files"
    done
}

# platform OS ARCHITECTURE OUT builds the commands, the archive that has them, and their bills of materials.
platform() {
  local folder=build/weatherlight_${version}_$1_$2 command
  mkdir -p "$folder"
  GOOS=$1 GOARCH=$2 go build -buildvcs=false -o "$folder/" \
    -ldflags "-s -w -X github.com/esper-lite/weatherlight/internal/version.described=$version -X github.com/esper-lite/weatherlight/internal/version.committed=$commit" \
    ./cmd/...
  licences "$1" "$2" >"$folder/THIRD-PARTY-LICENCES"
  cp LICENSE NOTICE README.md CHANGELOG.md .env.example "$folder/"
  pack "$folder" "$3/weatherlight_${version}_$1_$2.tar.gz"
  for command in "${commands[@]}"; do
    "$work/tools/cyclonedx-gomod" bin -std -json -noserial -notimestamp -version "$version" \
      -output "$3/${command}_${version}_$1_$2.cdx.json" "$folder/$command" 2>/dev/null
  done
}

# debian ARCHITECTURE OUT makes the package, with units that name the commands where a package has them.
debian() {
  mkdir -p build/units
  for unit in infra/systemd/*.service; do
    sed 's,/usr/local/bin/,/usr/bin/,' "$unit" >"build/units/${unit##*/}"
  done
  cat NOTICE LICENSE >build/copyright
  find build/units build/copyright infra/debian "build/weatherlight_${version}_linux_$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  VERSION=$debian_version ARCHITECTURE=$1 COMMANDS=build/weatherlight_${version}_linux_$1 \
    "$work/tools/nfpm" package --packager deb --config infra/debian/nfpm.yaml --target "$2/" >/dev/null
}

# image OUT makes the context of an image that is built without Go: that of infra/Dockerfile, from static commands.
# TARGETARCH is what the builder says: a default would win over it.
image() {
  local folder=build/weatherlight_${version}_image architecture
  for architecture in $(sed -n 's,^linux/,,p' <<<"${platforms// /$'\n'}"); do
    mkdir -p "$folder/$architecture/data"
    for command in "${commands[@]}"; do
      ln "build/weatherlight_${version}_linux_$architecture/$command" "$folder/$architecture/$command"
    done
  done
  {
    echo "# docker buildx build --platform linux/amd64,linux/arm64 -t esper-lite/weatherlight:$version ."
    sed -n 's/^FROM \(.*\) AS build$/FROM \1 AS build/p' infra/Dockerfile
    printf 'ARG TARGETARCH\nCOPY ${TARGETARCH}/ /out/\n\n'
    sed -n '/^FROM scratch$/,$p' infra/Dockerfile
  } >"$folder/Dockerfile"
  pack "$folder" "$1/weatherlight_${version}_image.tar.gz"
}

# release FOLDER OUT unpacks the sources into a folder and builds all of it from them.
release() (
  settle
  mkdir -p "$1" "$2"
  git archive "$commit" | tar -x -C "$1"
  cd "$1"
  for each in $platforms; do
    platform "${each%/*}" "${each#*/}" "$2"
    [ "${each%/*}" != linux ] || debian "${each#*/}" "$2"
  done
  image "$2"
  cd "$2"
  find . -type f -printf '%P\n' | sort | xargs sha256sum >"$work/sums"
  mv "$work/sums" SHA256SUMS
)

# release_otherwise does it in other surroundings, with nothing compiled before.
release_otherwise() (
  umask 077
  export GOCACHE=$work/cache TZ=Pacific/Chatham
  release "$work/another/place" "$work/dist"
)

rm -rf "$dist"
tools
release "$work/one" "$dist"
artifacts=$(find "$dist" -type f | wc -l)
if ! $check; then
  echo "RESULT release artifacts=$artifacts reproducible=unknown"
  exit 0
fi
release_otherwise
reproducible=true
diff --recursive "$dist" "$work/dist" >&2 || reproducible=false
tools/ensure.sh redis-server buildah docker-compose systemd-analyze
go test -count=1 -tags release -run '^TestRelease' ./infra -release "$dist"
echo "RESULT release artifacts=$artifacts reproducible=$reproducible"
$reproducible
