"""The audit passes without findings and without a reachable source, and prints all else."""

import subprocess

import pytest

from tests.conftest import ROOT

NO_SOURCE_MESSAGE = "No advisory source answers"
VULNERABILITY_FOUND = (
    "Found 1 known vulnerability in 1 package\nName Version ID\npillow 1.0 PYSEC-1"
)
CONNECTION_REFUSED = (
    "Traceback (most recent call last):\n"
    "  raise ConnectionError(e, request=request)\nrequests.exceptions.ConnectionError: no host"
)
TIMED_OUT = (
    "ERROR:pip_audit._cli:Could not connect to OSV's vulnerability feed\n"
    "ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service"
)
CRASHED = "Traceback (most recent call last):\nKeyError: 'vulns'"
DISK_FULL = "requests.exceptions.ConnectionError: again\nOSError: No space left on device"
INVALID_REQUIREMENTS = (
    "ERROR:pip_audit._cli:requirement file lock.txt contains invalid specifier at line 3"
)
UNKNOWN_PACKAGE = (
    "ERROR:pip_audit._cli:x: Dependency not found on PyPI and could not be audited: x (1.0)"
)


@pytest.fixture
def audit(tmp_path):
    """Run the script with a pip-audit that says as given of the lock to each source, and of pip."""

    def run(osv, pypi="", of_pip="No known vulnerabilities found"):
        for name, text in (("osv", osv), ("pypi", pypi), ("pip", of_pip)):
            (tmp_path / name).write_text(text and f"{text}\n")
        program = tmp_path / "pip-audit"
        program.write_text(
            "#!/bin/sh\n"
            f'cd "{tmp_path}"\n'
            'asked=$2; case " $* " in *" --no-deps "*) asked=pip ;; esac\n'
            'cat "$asked" >&2\n'
            'grep -q "^No known" "$asked"\n'
        )
        program.chmod(0o755)
        command = ["sh", ROOT / "deploy" / "audit.sh", program, "lock.txt"]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_where_nothing_is_known_it_passes(audit):
    done = audit("No known vulnerabilities found")
    assert done.returncode == 0
    assert done.stdout == "No known vulnerability, says osv.\n"


def test_what_is_found_is_shown_and_fails(audit):
    done = audit(VULNERABILITY_FOUND)
    assert done.returncode == 1
    assert VULNERABILITY_FOUND in done.stderr


@pytest.mark.parametrize("output", [CONNECTION_REFUSED, TIMED_OUT])
def test_where_no_source_can_be_reached_it_says_so(audit, output):
    done = audit(output, output)
    assert done.returncode == 0
    assert NO_SOURCE_MESSAGE in done.stderr
    assert output.splitlines()[-1] in done.stderr


def test_where_one_source_cannot_be_reached_the_other_is_asked(audit):
    assert audit(CONNECTION_REFUSED, "No known vulnerabilities found").stdout.endswith(
        "says pypi.\n"
    )
    assert audit(CONNECTION_REFUSED, VULNERABILITY_FOUND).returncode == 1


def test_a_mirror_without_advisories_is_no_source(audit):
    done = audit(CONNECTION_REFUSED, UNKNOWN_PACKAGE, of_pip=UNKNOWN_PACKAGE)
    assert done.returncode == 0
    assert NO_SOURCE_MESSAGE in done.stderr


@pytest.mark.parametrize("output", [CRASHED, DISK_FULL, INVALID_REQUIREMENTS, UNKNOWN_PACKAGE, ""])
@pytest.mark.parametrize("osv_output", [None, CONNECTION_REFUSED])
def test_any_other_failure_is_shown_and_fails(audit, output, osv_output):
    done = audit(output) if osv_output is None else audit(osv_output, output)
    assert done.returncode == 1
    assert output in done.stderr
    assert NO_SOURCE_MESSAGE not in done.stderr


def test_without_the_program_it_fails(tmp_path):
    command = ["sh", ROOT / "deploy" / "audit.sh", tmp_path / "none", "lock.txt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "none" in done.stderr
