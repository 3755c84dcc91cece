#!/usr/bin/env bash
# Builds the key agent beside the static programs: dynamically linked, in a target folder of its own.
# Prints the path of the program. Further arguments go to cargo, such as --release.
set -euo pipefail
cd "$(dirname "$0")"
target=${LICTOR_KEY_AGENT_TARGET:-$PWD/../target/dynamic}
# RUSTFLAGS takes the place of the flags in .cargo/config.toml, which link everything statically.
RUSTFLAGS="-C target-feature=-crt-static" cargo build --locked --quiet --target-dir "$target" "$@" >&2
profile=debug
for argument in "$@"; do [ "$argument" = --release ] && profile=release; done
program=$(ls "$target"/*/"$profile"/lictor-key-agent 2>/dev/null | head -n 1)
echo "${program:-$target/$profile/lictor-key-agent}"
