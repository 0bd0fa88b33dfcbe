"""A virtual environment on top of another one, whose packages it sees.

It adds a `.pth` file to this environment, and prints what the extra `ray` requires. The environment
below stays as it is.
"""

import sys
import sysconfig
import tomllib
from pathlib import Path

below, project = map(Path, sys.argv[1:])
(packages,) = below.resolve().glob("lib/python*/site-packages")
line = f"import site; site.addsitedir({str(packages)!r})\n"
Path(sysconfig.get_path("purelib"), "below.pth").write_text(line)
extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
sys.stdout.write("\n".join(extras["ray"]) + "\n")
