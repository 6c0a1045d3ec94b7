"""The public names: few, lazy, sorted, and each explained by an example that runs."""

import doctest
import importlib
import inspect
import subprocess
import sys

import pytest

import isac_torch


def examples(item: object, name: str) -> doctest.DocTest:
    """The examples in the docstring of `item`, members left out."""
    text = inspect.getdoc(item) or ""
    return doctest.DocTestParser().get_doctest(text, {}, name, None, None)


@pytest.mark.parametrize("name", isac_torch.__all__)
def test_every_public_name_has_an_example_that_runs(name):
    found = examples(getattr(isac_torch, name), name)
    assert found.examples, f"help(isac_torch.{name}) shows no example"
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=said.append)
    assert not said, "".join(said)


def test_the_tutorial_runs():
    found = examples(isac_torch, "isac_torch")
    assert len(found.examples) > 15
    said: list[str] = []
    doctest.DocTestRunner().run(found, out=said.append)
    assert not said, "".join(said)


def test_the_public_names_are_sorted_and_all_there():
    assert isac_torch.__all__ == sorted(isac_torch.__all__)
    assert set(isac_torch._HOMES) == set(isac_torch.__all__)
    assert set(isac_torch.__all__) <= set(dir(isac_torch))
    for name, module in isac_torch._HOMES.items():
        assert getattr(isac_torch, name).__module__ == f"isac_torch.{module}"


def test_type_checkers_see_the_same_names():
    tree = importlib.import_module("ast").parse(inspect.getsource(isac_torch))
    block = next(node for node in tree.body if type(node).__name__ == "If")
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"isac_torch.{module}" for name, module in isac_torch._HOMES.items()}


def test_importing_the_package_loads_nothing():
    run = subprocess.run([sys.executable, "-X", "importtime", "-c", "import isac_torch"], capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()}
    assert "isac_torch" in loaded
    assert not loaded & {"torch", "numpy", "lightning", "scipy", "jaxtyping", "array_api_compat", "h5py", "cvxpy"}


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(AttributeError, match=r"isac_torch\.__all__"):
        _ = isac_torch.allocat
    with pytest.raises(ImportError, match=r"isac_torch\.DeployedAllocator now"):
        importlib.import_module("isac_torch.deployment.allocator").Allocator  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Alocator'"):
        importlib.import_module("isac_torch.deployment.allocator").Alocator  # noqa: B018


def test_wherever_allocator_stands_it_is_the_protocol():
    from isac_torch.allocation import Allocator

    assert isac_torch.Allocator is Allocator
    classes = ("BatchedMinMaxNmse", "BatchedOptimal", "DownlinkPilotLearned", "FirstOrder", "Fractional", "GlobalOptimal")
    for name in classes:
        assert callable(getattr(isac_torch, name).propose)
    for name in ("DeployedAllocator", "LargeAllocator"):
        assert not hasattr(getattr(isac_torch, name), "propose")
        assert "isac_torch.Allocator" in str(inspect.getdoc(getattr(isac_torch, name)))
