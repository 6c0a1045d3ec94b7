"""Conversions at the edges. Inside, everything is SI and linear; a name that ends in _db, _dbm or _dbsm is not."""

SPEED_OF_LIGHT = 299_792_458.0
"""Speed of light in vacuum, m/s."""


def db_to_linear(value_db: float) -> float:
    """Power ratio of a value in dB (or m2 of a value in dBsm)."""
    return float(10.0 ** (value_db / 10.0))


def dbm_to_watt(value_dbm: float) -> float:
    """Power in W of a value in dBm."""
    return float(10.0 ** ((value_dbm - 30.0) / 10.0))
