#!/bin/sh
# audit.sh PIP_AUDIT LOCK: looks up known vulnerabilities of the packages in LOCK. It fails if there
# is one, or if pip-audit cannot do its work. If no advisory source can be reached, it says so and
# succeeds.
set -eu

pip_audit=$1
said=$(mktemp)
known=$(mktemp)
trap 'rm -f "$said" "$known"' EXIT
echo 'pip==24.0' >"$known"

ask() {
    "$pip_audit" --vulnerability-service "$@" --strict --disable-pip 2>&1
}

# The last line has the cause of the failure: pip-audit's own advice, or an error that it does not
# catch.
out_of_reach() {
    tail -n 1 "$said" | grep -qE \
        -e 'your network may be blocking this service' \
        -e '^requests\.exceptions\.(Connection|Proxy)Error:' \
        -e '^requests\.exceptions\.(Connect|Read)Timeout:'
}

# A mirror of the registry may have the packages without their advisories. Then it has none for pip
# either. A source that knows pip must know the packages in the lock.
is_mirror() {
    missing='Dependency not found on PyPI'
    grep -q "$missing" "$said" && ask "$1" --no-deps --requirement "$known" | grep -q "$missing"
}

for source in osv pypi; do
    if ask "$source" --requirement "$2" >"$said"; then
        echo "No known vulnerability, says $source."
        exit 0
    elif ! out_of_reach && ! is_mirror "$source"; then
        cat "$said" >&2
        exit 1
    fi
    printf '%s does not answer: %s\n' "$source" "$(tail -n 1 "$said")" >&2
done
echo "No advisory source answers: nothing can be said of known vulnerabilities." >&2
