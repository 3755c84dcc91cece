#!/usr/bin/env bash
# Builds the services and prints what they cost beside bare twins of the same run. Arguments go to load-bench.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --locked --quiet --workspace --bins
cargo run --locked --quiet -p lictor-tests-load --bin load-bench -- "$@"
echo
# Issuing needs PostgreSQL, RabbitMQ and Redis: private ones, as in the tests, that count statements.
export LICTOR_COUNT_STATEMENTS=1
exec cargo run --locked --quiet -p lictor-test-support --bin with-servers -- \
  sh -c "cargo run --locked --quiet -p lictor-tests-load --bin load-issuing && echo &&
         cargo run --locked --quiet -p lictor-tests-load --bin load-notify"
