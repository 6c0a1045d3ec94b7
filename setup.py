"""The build stops where a folder of isac_torch is not the link that it should be: a wheel would come without it."""

from pathlib import Path

from setuptools import setup

for name in ("configs", "datasets", "trainers"):
    if not (Path(__file__).parent / "isac_torch" / name).is_dir():
        raise SystemExit(
            f"error: isac_torch/{name} is not the link to ../{name} that it should be (a checkout without symbolic links); "
            f"run: rm -rf isac_torch/{name} && cp -r {name} isac_torch/{name}"
        )

setup()
