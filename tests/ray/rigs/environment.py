"""Builds one environment on top of another: what is installed there is here, too.

What enters: the environment below, and the project. What leaves: a line in this environment that
leads there, and on standard output what the extra `ray` asks for. Nothing below is changed.
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
