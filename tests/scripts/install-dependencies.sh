#!/usr/bin/env bash
# Installs what the tests start: PostgreSQL, Redis, RabbitMQ, Docker's engine with Compose, mmdebstrap for base images,
# SoftHSM for the tests of keys in tokens, musl's compiler for a program in an image of its own, tmux for those of verbs that
# ask questions, cron and systemd to judge the examples in deploy/pull.
# A mail server and a browser for what the notification dispatcher sends and shows, Prometheus' tool for its alert rules.
# On Debian as root it installs what is missing; anywhere else it names the one command that does.
set -euo pipefail

declare -A package_of=(
  [postgres]=postgresql
  [redis-server]=redis-server
  [rabbitmq-server]=rabbitmq-server
  [dockerd]=docker.io
  [docker-compose]=docker-compose
  [mmdebstrap]=mmdebstrap
  [softhsm2-util]=softhsm2
  [iptables]=iptables
  [tmux]=tmux
  [musl-gcc]=musl-tools
  [crontab]=cron
  [systemd-analyze]=systemd
  [aiosmtpd]=python3-aiosmtpd
  [chromium]=chromium
  [python3-venv]=python3-venv
  [promtool]=prometheus
)

has() {
  case "$1" in
    postgres) compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || { command -v postgres && command -v initdb; } >/dev/null 2>&1 ;;
    python3-venv) python3 -m ensurepip --version >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] ;;
  esac
}

missing=()
for program in "${!package_of[@]}"; do
  has "$program" || missing+=("${package_of[$program]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "The tests need programs that are not installed. On Debian or Ubuntu, run:" >&2
  echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  # The embedded default needs none of them; what Docker, cron and systemd would test is named loudly where they are missing.
  # The servers are needed.
  for server in postgresql redis-server rabbitmq-server softhsm2; do
    case " ${missing[*]} " in *" $server "*) exit 1 ;; esac
  done
  exit 0
fi

# No package may start a daemon of its own: the tests start private ones.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
