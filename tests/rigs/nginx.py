"""nginx in a process of its own, for the tests of the configurations in `deploy`."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import find_program
from tests.service.running import wait_until

CONFIGURATION = """
daemon off;
user root;  # if root runs it: large bodies are written to a folder of the tests
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    keepalive_requests 1000000000;  # the load does not look for `Connection: close`
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


@contextmanager
def run_nginx(folder: Path, site: str) -> Iterator[None]:
    """Run nginx with this content of its `http` block, and its files in a new folder."""
    command = find_program("nginx")
    folder.mkdir(mode=0o777)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, site=site))
    with subprocess.Popen([command, "-c", file, "-e", folder / "error.log"]) as process:
        try:
            assert wait_until((folder / "nginx.pid").exists)
            yield
        finally:
            process.terminate()
