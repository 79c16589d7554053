#!/bin/sh
# Installs the tests' tools that PyPI does not have, gitlab-ci-local (npm) and the rsync that it calls, and puts the
# former beside the tests' Python, where they look for it. Usage: tests/install_tools.sh [.venv/bin]
set -eu
bin="$(cd "${1:-$(dirname "$0")/../.venv/bin}" && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/champion-gate/npm"

missing=''
command -v rsync >/dev/null || missing="$missing rsync"
command -v npm >/dev/null || missing="$missing nodejs npm"
if [ -n "$missing" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "Please install$missing, then run this again." >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086 # several names
  apt-get install -y -qq --no-install-recommends $missing
fi

# The newest version that runs on the Node of Debian and Ubuntu.
npm install --prefix "$cache" --no-audit --no-fund --no-save --ignore-scripts --silent gitlab-ci-local@4.61.1
ln -sf "$cache/node_modules/.bin/gitlab-ci-local" "$bin/gitlab-ci-local"
