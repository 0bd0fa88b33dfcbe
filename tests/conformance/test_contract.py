"""Whatever Schemathesis makes up is answered as the OpenAPI document says.

Unlike its neighbours it serves the app in its own process, and runs in MyNet's environment.
"""

from tests.contract import PHASES, contract_service, run_schemathesis


def test_schemathesis_finds_nothing_in_any_phase(settings, tmp_path):
    with contract_service(settings) as url:
        run_schemathesis(url, tmp_path, *PHASES)
