#!/bin/sh
# Builds the Rego toolchain: Go sources in; regoc.wasm.br and two hashes out. The same sources give the same
# bytes on every machine. `build.sh --verify` builds again elsewhere and compares; it changes nothing.
set -eu
cd "$(dirname "$0")"

GOTOOLCHAIN=$(awk '$1 == "toolchain" { print $2 }' go.mod)
export GOTOOLCHAIN GOOS=js GOARCH=wasm CGO_ENABLED=0 GOFLAGS=-mod=readonly GOEXPERIMENT= GOWASM= GOWORK=off
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

go build -trimpath -buildvcs=false -ldflags "-s -w -buildid=" -o "$out/regoc.wasm" .
(cd "$out" && sha256sum regoc.wasm) >"$out/regoc.wasm.sha256"

if [ "${1:-}" = --verify ]; then
  # Versions of brotli pack differently, so the unpacked bytes are what has to agree.
  node -e 'process.stdout.write(require("zlib").brotliDecompressSync(require("fs").readFileSync("regoc.wasm.br")))' |
    cmp - "$out/regoc.wasm"
  cmp regoc.wasm.sha256 "$out/regoc.wasm.sha256"
  cmp wasm_exec.js "$(go env GOROOT)/lib/wasm/wasm_exec.js"
  sha256sum -c regoc.wasm.br.sha256
  exit
fi

node -e '
  const { brotliCompressSync, constants: c } = require("zlib"), { readFileSync, writeFileSync } = require("fs")
  const wasm = readFileSync(process.argv[1])
  const params = { [c.BROTLI_PARAM_QUALITY]: 11, [c.BROTLI_PARAM_LGWIN]: 24, [c.BROTLI_PARAM_SIZE_HINT]: wasm.length }
  writeFileSync("regoc.wasm.br", brotliCompressSync(wasm, { params }))' "$out/regoc.wasm"
sha256sum regoc.wasm.br >regoc.wasm.br.sha256
cp "$out/regoc.wasm.sha256" .
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" .
chmod 644 wasm_exec.js
node licenses.mjs
