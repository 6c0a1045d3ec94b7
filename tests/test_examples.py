"""The examples run."""

import runpy

from tests.paths import ROOT

EXAMPLES = ROOT / "examples"


def test_compare_policies_prints_a_line_for_every_policy(capsys):
    module = runpy.run_path(str(EXAMPLES / "compare_policies.py"))
    module["main"](["--size", "4x2x2", "--drops", "2", "--seed", "900001"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("are feasible")
    assert [line.split()[0] for line in lines] == ["opc_batched", *module["POLICIES"]]
    assert "1.000 of the optimum" in lines[0]
