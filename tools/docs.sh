#!/usr/bin/env bash
# Builds the documentation as a site (var/docs/site), follows every link of it and of the Markdown, and runs the
# commands of the tutorial in a home of their own.
# Usage: tools/docs.sh
set -euo pipefail
cd "$(dirname "$0")/.."

tools/ensure.sh /usr/bin/python3 python:ensurepip
venv=var/docs/venv
if ! cmp -s docs/requirements.txt "$venv/made"; then
  mkdir -p var/docs
  /usr/bin/python3 -m venv --clear "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r docs/requirements.txt
  cp docs/requirements.txt "$venv/made"
fi
NO_MKDOCS_2_WARNING=1 "$venv/bin/mkdocs" build --quiet --clean
"${GO:-go}" test -count=1 -v -timeout 15m -tags docs ./internal/docs -site "$PWD/var/docs/site" | tools/result.sh docs
