#!/usr/bin/env bash
# Starts the third-party classifieds site on this machine:
#   sites/classified/run.sh --data DIR --port N [--fault NAME=VALUE ...]
# README.md beside this file lists the options, the faults and the pages.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "classified site: python3 is missing; install it (Debian: apt-get install python3 python3-venv)" >&2; exit 1; }
exec python3 "$here/launch.py" "$@"
