#!/usr/bin/env bash
# Builds the page of Nissa into a folder: checks its types, and packs it.
# Usage: build.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")"

folder=$(realpath -m "${1:-dist}")
node_modules/.bin/tsc -p .
mkdir -p "$folder"
node_modules/.bin/esbuild src/main.ts --bundle --minify --charset=utf8 --format=esm --target=es2022 --log-level=warning --outfile="$folder/page.js"
node_modules/.bin/esbuild src/page.css --minify --charset=utf8 --log-level=warning --outfile="$folder/page.css"
cp src/index.html src/icon.svg "$folder"
