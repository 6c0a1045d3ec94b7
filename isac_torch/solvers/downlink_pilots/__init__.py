"""Downlink pilots: majorised cones, certificate, the paper's algorithm. "Power control" in docs/downlink_pilots.md."""
