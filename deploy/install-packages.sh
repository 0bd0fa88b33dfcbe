#!/bin/sh
# install-packages.sh PYTHON ARGUMENT…: installs packages into the environment of PYTHON with uv,
# which takes a tenth of pip's CPU time. If uv cannot, for example because only pip knows the
# package index of this network, pip does it.
set -eu

python=$1
shift
pip="$python -m pip --disable-pip-version-check"
if $pip install --quiet uv && "$python" -m uv pip install --quiet --python "$python" "$@"; then
    exit 0
fi
echo "uv could not install the packages: pip installs them."
$pip install --quiet "$@"
