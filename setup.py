"""The build stops where a folder of isac_torch is not the link that it should be: a wheel would come without it.

With a C compiler the core of `native/` is built into the package, to be loaded by ctypes: a wheel is then one of the platform,
for any version of Python 3. Without one, or with ISAC_TORCH_NATIVE=0, the wheel is for any platform and computes by numpy.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
SOURCES = ("baseline", "avx2", "avx512", "entry")
FLAGS = ["-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]

for name in ("configs", "datasets", "trainers"):
    if not (ROOT / "isac_torch" / name).is_dir():
        raise SystemExit(
            f"error: isac_torch/{name} is not the link to ../{name} that it should be (a checkout without symbolic links); "
            f"run: rm -rf isac_torch/{name} && cp -r {name} isac_torch/{name}"
        )


class BuildCore(build_ext):
    """The core is no module of Python: its file has a name of its own."""

    def get_ext_filename(self, fullname: str) -> str:
        """isac_torch/deployment/_native.so on every platform."""
        return str(Path(*fullname.split(".")).with_suffix(".so"))


class Wheel(bdist_wheel):
    """A wheel whose tag says whether the core is inside."""

    def get_tag(self) -> tuple[str, str, str]:
        """Asked for when the core has been built, or not; it knows nothing of Python's versions."""
        core = Path(self.get_finalized_command("build_ext").get_ext_fullpath("isac_torch.deployment._native"))
        return ("py3", "none", super().get_tag()[2] if core.is_file() else "any")


core = Extension(
    "isac_torch.deployment._native",
    sources=[f"native/{name}.c" for name in SOURCES],
    depends=[str(path.relative_to(ROOT)) for path in sorted((ROOT / "native").glob("*.h"))],
    extra_compile_args=FLAGS,
    libraries=["m"],
    optional=True,  # no compiler: the build goes on without it
)
setup(
    ext_modules=[] if os.environ.get("ISAC_TORCH_NATIVE") == "0" else [core],
    cmdclass={"build_ext": BuildCore, "bdist_wheel": Wheel},
)
