"""The downlink-pilot system: downlink pilots for channel estimation that also locate the UEs. docs/downlink_pilots.md."""
