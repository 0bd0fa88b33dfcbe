"""Environment variables that begin with the prefix of the settings, but are none.

Kubernetes sets variables for each service of a namespace (`enableServiceLinks`). For a service
named `mynet` they are `MYNET_SERVICE_HOST`, `MYNET_PORT=tcp://10.0.0.1:80`, `MYNET_PORT_80_TCP` and
so on. They are passed over: the operator did not set them.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

HOST: Final = "_SERVICE_HOST"
LINK: Final = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?")
ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://\S+")


def service_links(environment: Mapping[str, str | None]) -> list[str]:
    """Return the names of the variables that Kubernetes has set for its services.

    `NAME_PORT` is one if its value is an address, since it may be a setting as well.
    """
    services = [name.removesuffix(HOST) for name in environment if name.endswith(HOST)]
    return sorted(
        name
        for name, value in environment.items()
        if any(_is_link(name, value or "", service) for service in services)
    )


def refuse_unknown(names: Iterable[str], prefix: str, variables: Collection[str]) -> None:
    """Raise ValueError for a name with the prefix that is not among the variables."""
    for name in names:
        if name.upper().startswith(prefix) and name.upper() not in variables:
            near = difflib.get_close_matches(name.upper(), variables, n=1) or [", ".join(variables)]
            raise ValueError(f"{name} is not a setting. Did you mean {near[0]}?")


def _is_link(name: str, value: str, service: str) -> bool:
    rest = name.removeprefix(f"{service}_")
    if rest == name or not LINK.fullmatch(rest):
        return False
    return rest != "PORT" or ADDRESS.fullmatch(value) is not None
