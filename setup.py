"""The build stops where isac_torch/datasets and isac_torch/trainers are no links: a wheel would come without them."""

from pathlib import Path

from setuptools import setup

for name in ("datasets", "trainers"):
    if not (Path(__file__).parent / "isac_torch" / name / "__init__.py").is_file():
        raise SystemExit(
            f"error: isac_torch/{name} is not the link to ../{name} that it should be (a checkout without symbolic links); "
            f"run: rm -rf isac_torch/{name} && cp -r {name} isac_torch/{name}"
        )

setup()
