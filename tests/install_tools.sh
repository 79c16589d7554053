#!/bin/sh
# Installs the tests' tools that PyPI does not have, and puts them beside the tests' Python, where they look for them:
# gitlab-ci-local (npm) and the rsync that it calls; systemd-analyze; a browser, GitHub's stylesheet (npm) and the font that it names,
# and what finds pages that not everybody can use (axe-core, npm); promtool.
# Usage: tests/install_tools.sh [.venv/bin]
set -eu
bin="$(cd "${1:-$(dirname "$0")/../.venv/bin}" && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/champion-gate/npm"

browser() {
  for name in chromium-headless-shell chromium google-chrome chromium-browser; do command -v $name && return; done
}
missing=''
command -v rsync >/dev/null || missing="$missing rsync"
[ "$(uname)" != Linux ] || command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v npm >/dev/null || missing="$missing nodejs npm"
chromium=chromium-headless-shell
browser >/dev/null || missing="$missing $chromium fonts-liberation"
if [ -n "$missing" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "Please install$missing, then run this again." >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Ubuntu has none outside its snap store, and the other tools do not wait for it.
  apt-cache show $chromium >/dev/null 2>&1 || missing="$(echo "$missing" | sed "s/ $chromium//")"
  # shellcheck disable=SC2086 # several names
  apt-get install -y -qq --no-install-recommends $missing
fi

# Of gitlab-ci-local the newest version that runs on the Node of Debian and Ubuntu.
npm install --prefix "$cache" --no-audit --no-fund --no-save --ignore-scripts --silent \
  gitlab-ci-local@4.61.1 github-markdown-css@5.9.0 axe-core@4.14.1
ln -sf "$cache/node_modules/.bin/gitlab-ci-local" "$bin/gitlab-ci-local"
ln -sf "$cache/node_modules/github-markdown-css/github-markdown.css" "$bin/github-markdown.css"
ln -sf "$cache/node_modules/axe-core/axe.min.js" "$bin/axe.min.js"
ln -sf "$(browser || { echo 'Please install Chromium or Chrome.' >&2; exit 1; })" "$bin/chromium"

# Of Debian's and Ubuntu's prometheus this one program: the package would start a server.
if ! command -v promtool >/dev/null; then
  folder="$cache/../prometheus"
  mkdir -p "$folder" && cd "$folder"
  apt-cache show prometheus >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || apt-get update -qq
  apt-get download -qq prometheus
  dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
  rm prometheus_*.deb
  ln -sf "$(pwd -P)/usr/bin/promtool" "$bin/promtool"
fi
