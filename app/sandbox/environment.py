"""Environment of the import worker: an allowlist.

The server's own environment holds keys, the password of the database and the credentials of the
bucket. A file that runs code in the worker must not find them there.
"""

import os
from collections.abc import Mapping
from typing import Final

ALLOWED: Final = frozenset(
    (
        *("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "LANG", "OMP_NUM_THREADS"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONUNBUFFERED", "PYTHONWARNINGS"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
        # For the download of MNIST.
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    )
)
LOCALE: Final = "LC_"


def allowed_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that the import worker may have."""
    return {name: value for name, value in environment.items() if _is_allowed(name, value)}


def _is_allowed(name: str, value: str) -> bool:
    if name.upper().endswith("_PROXY") and "@" in value:
        return False  # the URL holds a password
    return name.upper() in ALLOWED or name.startswith(LOCALE)
