"""The pilot system: downlink pilots for channel estimation that also locate the UEs. docs/pilot.md."""
