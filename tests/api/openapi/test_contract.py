"""The examples of the OpenAPI document are answered as it says.

All that Schemathesis makes up beside them is sent by tests/conformance/test_contract.py.
"""

from tests.contract import contract_service, run_schemathesis


def test_schemathesis_finds_nothing_in_the_examples(settings, tmp_path):
    with contract_service(settings) as url:
        run_schemathesis(url, tmp_path, "examples")
