"""The deployed allocator of the downlink-pilot system: snapshots of roads in, powers in W out, by numpy alone."""
