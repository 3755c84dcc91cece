#!/usr/bin/env bash
# Builds the licence server and its bare twin and prints the ratios between them. Arguments go to load-bench.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --locked --quiet -p lictor-license-server -p lictor-tests-load --bins
exec cargo run --locked --quiet -p lictor-tests-load --bin load-bench -- "$@"
