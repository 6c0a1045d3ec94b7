"""Solvers of the pilot system: majorised cones, certificate, the paper's algorithm. "Power control" in docs/pilot.md."""
