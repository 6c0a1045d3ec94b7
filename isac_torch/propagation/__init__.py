"""Geometry, path loss, arrays, correlation, pilots and channel estimation: what both systems share."""
