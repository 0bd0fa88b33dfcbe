#!/bin/sh
# audit.sh PIP_AUDIT LOCK: asks the advisory sources for vulnerabilities of what LOCK names. Fails
# where one is known; where no source answers, it says so, and that nothing is known then.
set -eu

said=$(mktemp)
trap 'rm -f "$said"' EXIT

for source in osv pypi; do
    if "$1" --vulnerability-service "$source" --strict --disable-pip \
        --requirement "$2" 2>"$said"; then
        echo "No known vulnerability, says $source."
        exit 0
    elif grep -q '^Found ' "$said"; then
        cat "$said"
        exit 1
    fi
done
echo "No advisory source answers: nothing can be said of known vulnerabilities." >&2
