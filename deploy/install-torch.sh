#!/bin/sh
# install-torch.sh PYTHON [INDEX [LOCK]]: installs torch and torchvision from INDEX into the
# environment of PYTHON. The default INDEX has PyTorch's CPU wheels. With LOCK, it installs the
# versions of the lock without their dependencies, which a later step installs by hash. It does
# nothing if the machine has an NVIDIA GPU, or if INDEX is empty or does not answer: the next
# installation then takes the default build of the package registry.
set -eu

python=$1
index=${2-https://download.pytorch.org/whl/cpu}
wanted="torch torchvision"
if [ -n "${3-}" ]; then
    wanted=$(sed -nE 's/^(torch(vision)?==[^ ]+).*/\1/p' "$3")
    case $index in
        */cu[0-9]*) ;;  # NVIDIA's libraries for another CUDA are in no lock
        *) wanted="--no-deps $wanted" ;;
    esac
fi

answers() {
    "$python" - "$index/torch/" <<'PY'
import sys
import urllib.request

try:
    urllib.request.urlopen(sys.argv[1], timeout=5).close()
except (OSError, ValueError):
    sys.exit(1)
PY
}

if [ -z "$index" ] || [ "$(uname -s)" != Linux ]; then
    exit 0  # on other systems the default build is the CPU build
fi
if nvidia-smi >/dev/null 2>&1; then
    echo "There is an NVIDIA GPU: PyTorch's default build is installed."
elif answers; then
    echo "PyTorch is installed from $index."
    # shellcheck disable=SC2086  # one word each
    "$python" -m pip --disable-pip-version-check install --quiet --index-url "$index" $wanted \
        || echo "It could not be: the default build is installed instead."
else
    echo "$index does not answer: PyTorch's default build (some 5.5 GB) is installed."
fi
