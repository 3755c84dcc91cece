#!/usr/bin/env bash
# Builds everything, starts private PostgreSQL, Redis and RabbitMQ, and runs the tests beside them.
# Arguments: packages to test; none for all of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(--workspace)
if [ $# -gt 0 ]; then
  packages=()
  for package in "$@"; do packages+=(-p "$package"); done
fi

# Loads foreign modules, so it is the one program that is not static.
key-agent/build.sh >/dev/null

# Binaries and tests in one go, so that both see the same features; tests of whole processes start the binaries.
cargo build --locked --workspace --all-targets --quiet
exec cargo run --locked --quiet -p lictor-test-support --bin with-servers -- \
  cargo test --locked "${packages[@]}" --no-fail-fast --quiet
