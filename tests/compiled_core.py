"""The compiled core for the tests: whether it is there, and the compiler."""

import shutil
import subprocess

import pytest

from isac_torch.deployment import library

built = pytest.mark.skipif(library.compute_path() == "numpy", reason="the compiled core is not built: make native")


def run_compiler(*flags, cwd):
    """On all of `native/`; the test is skipped where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    sources = sorted((library.FILE.parents[2] / "native").glob("*.c"))
    subprocess.run([compiler, "-std=gnu11", "-Wno-psabi", *sources, *flags], check=True, cwd=cwd)
