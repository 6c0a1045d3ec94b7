"""Labelled data sets: generator, shards, inspection, DataModule. Imported as `isac_torch.datasets` through a committed link."""

if __name__ == "datasets":
    raise ImportError("import isac_torch.datasets: a top-level `datasets` would shadow the package of that name on PyPI")
