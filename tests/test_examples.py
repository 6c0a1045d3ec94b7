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


def test_dominate_gives_a_line_for_every_factor():
    module = runpy.run_path(str(EXAMPLES / "dominate_uniform_power.py"))
    head, *lines = module["compare"]("6x3x2", drops=2, factors=(0.9, 1.0))
    assert head.startswith("factor")
    assert [float(line.split()[0]) for line in lines] == [0.9, 1.0]
    # uniform power meets both, and asking for less never costs rate
    assert all(line.split()[3] == "0" for line in lines)
    assert float(lines[0].split()[1]) >= float(lines[1].split()[1]) * 0.999 >= 0.999
