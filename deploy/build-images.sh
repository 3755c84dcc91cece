#!/usr/bin/env bash
# Builds the images lictor/<service> from the binaries of this tree.
#   deploy/build-images.sh [TAG [PROGRAM...]]     tag: `local` unless given; all images, or only those of these programs
# Environment: LICTOR_BIN_DIR to take programs that are built already; LICTOR_BASE_IMAGE for the images that are not static
# (default debian:bookworm-slim; deploy/air-gap makes one without a registry); LICTOR_KEY_AGENT, a path as key-agent/build.sh
# prints it, to make the image for keys in PKCS#11 tokens too; DOCKER_HOST as usual.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:-local}
programs=(license-central activation push-update-generator notification-dispatcher license-server lictor)
on_debian=(application)
if [ $# -gt 1 ]; then
  programs=("${@:2}")
  on_debian=()
fi

built=${LICTOR_BIN_DIR:-}
if [ -z "$built" ]; then
  cargo build --locked --quiet $(printf -- '--bin %s ' "${programs[@]}")
  built=target/$(rustc -vV | sed -n 's/^host: //p')/debug
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/empty" "$context/entries"
# The customer's verbs are the same program under its other name.
ln -s license-server "$context/entries/lictor"
for program in "${programs[@]}"; do
  # Line tables stay with the build; an image carries the program only.
  strip -o "$context/$program" "$built/$program"
done
# Root certificates for receivers on the open internet; an empty file where the host has none.
cat /etc/ssl/certs/ca-certificates.crt >"$context/ca-certificates.crt" 2>/dev/null || : >"$context/ca-certificates.crt"

for program in "${programs[@]}"; do
  DOCKER_BUILDKIT=0 docker build --quiet --tag "lictor/$program:$tag" --file "deploy/images/$program.Dockerfile" "$context" >/dev/null
  echo "lictor/$program:$tag"
done
if [ -n "${LICTOR_KEY_AGENT:-}" ]; then
  strip -o "$context/lictor-key-agent" "$LICTOR_KEY_AGENT"
  on_debian+=(push-update-generator-pkcs11)
fi
for image in "${on_debian[@]}"; do
  DOCKER_BUILDKIT=0 docker build --quiet --tag "lictor/$image:$tag" \
    --build-arg "BASE=${LICTOR_BASE_IMAGE:-debian:bookworm-slim}" \
    --file "deploy/images/$image.Dockerfile" "$context" >/dev/null
  echo "lictor/$image:$tag"
done
