"""Deployed allocators: what runs in a radio network without torch. Only numpy, onnxruntime and the standard library."""
