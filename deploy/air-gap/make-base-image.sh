#!/usr/bin/env bash
# Makes the image lictor/base:local for sites that reach no registry of images: Debian with PostgreSQL, Redis, RabbitMQ and
# SoftHSM, from Debian's own packages. Needs root, mmdebstrap, and a Docker engine that answers.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=${1:-lictor/base:local}
if docker image inspect "$image" >/dev/null 2>&1; then
  echo "$image is there already"
  exit 0
fi
packages=ca-certificates,postgresql,redis-server,rabbitmq-server,softhsm2
# The archive is kept, so that a fresh engine gets it in seconds; one with other packages is another one.
archive=${LICTOR_AIR_GAP_CACHE:-target/air-gap}/base-$(cksum <<<"$packages" | cut -d ' ' -f 1).tar
if [ ! -s "$archive" ]; then
  mkdir -p "$(dirname "$archive")"
  sources=()
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    [ -s "$file" ] && sources+=("$file")
  done
  mmdebstrap --quiet --variant=minbase --mode=root \
    --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='chroot "$1" install -d -o postgres -g postgres /var/lib/postgresql/data' \
    bookworm "${archive%.tar}.part.tar" "${sources[@]}"
  mv "${archive%.tar}.part.tar" "$archive"
fi
docker import "$archive" "$image" >/dev/null
echo "$image"
