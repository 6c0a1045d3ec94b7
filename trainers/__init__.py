"""Lightning modules, callbacks and the training command. Imported as `isac_torch.trainers` through a committed link."""

if __name__ == "trainers":
    raise ImportError("import isac_torch.trainers: a top-level `trainers` would load every class a second time")
