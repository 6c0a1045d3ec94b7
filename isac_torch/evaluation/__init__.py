"""Benchmarks: allocators on the same drops, judged against the certified optimum; tables, figures, TensorBoard."""
