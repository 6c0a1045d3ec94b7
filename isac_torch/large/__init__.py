"""Networks of thousands of APs: sparse neighbourhoods, bounded far interference, local fairness. See docs/scalability.md."""
