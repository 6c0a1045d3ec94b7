"""Columns of the tables and files of the power-control system."""

COLUMNS = (
    ("num_drops", "drops", "{:d}"),
    ("min_rate_ratio_mean", "ratio", "{:.4f}"),
    ("min_rate_ratio_p5", "p5", "{:.4f}"),
    ("min_rate_ratio_worst", "worst", "{:.4f}"),
    ("min_rate_ratio_max", "max", "{:.4f}"),
    ("min_rate_ratio_valid_mean", "valid ratio", "{:.4f}"),
    ("valid_drop_share", "valid drops", "{:.1%}"),
    ("min_rate_mbps_mean", "min Mbit/s", "{:.3f}"),
    ("mean_rate_mbps", "mean Mbit/s", "{:.3f}"),
    ("sir_violation_rate", "SIR missed", "{:.2%}"),
    ("budget_violation_max", "overload", "{:.0e}"),
    ("ms_per_drop", "ms/drop", "{:.3f}"),
)
"""Key in summary.json, heading and format of each column."""

SENSING_COLUMNS = (
    ("rate_over_upc", "x UPC", "{:.2f}"),
    ("rate_mbps_p5", "5 % Mbit/s", "{:.3f}"),
    ("mean_rate_over_upc", "mean x UPC", "{:.2f}"),
    ("sicnr_db_median", "SICNR dB", "{:.1f}"),
    ("sicnr_minus_upc_db_median", "median v UPC", "{:+.2f}"),
    ("sicnr_minus_upc_db_p10", "10 % v UPC", "{:+.2f}"),
    ("miss_probability", "missed", "{:.2%}"),
    ("miss_probability_minus_upc", "missed v UPC", "{:+.2%}"),
    ("position_error_m", "error m", "{:.2f}"),
    ("position_error_minus_upc_m", "m v UPC", "{:+.2f}"),
    ("power_w_mean", "W", "{:.1f}"),
    ("infeasible", "infeasible", "{:d}"),
)
"""The same of the second table: rates relative to uniform power, and sensing quality."""

BLOCKS = (
    ("min_rate_ratio_mean", "ratio, mean"),
    ("min_rate_ratio_p5", "ratio, 5 % quantile"),
    ("min_rate_ratio_worst", "ratio, worst"),
    ("min_rate_ratio_valid_mean", "ratio, 0 where violated"),
    ("sir_violation_rate", "targets below SIR0"),
    ("rate_over_upc", "smallest rate over uniform power's"),
    ("mean_rate_over_upc", "mean rate over uniform power's"),
    ("sicnr_minus_upc_db_median", "median SICNR less uniform power's, dB"),
    ("sicnr_minus_upc_db_p10", "10 % quantile of the SICNR less uniform power's, dB"),
    ("miss_probability_minus_upc", "miss probability less uniform power's"),
    ("position_error_minus_upc_m", "position error bound less uniform power's, m"),
    ("power_w_mean", "power, W"),
    ("ms_per_drop", "ms per drop"),
)
"""Numbers of summary.json that the table of several settings shows, with their headings."""

CSV_FIELDS = (
    "drop", "kind", "allocator", "status", "min_rate_ratio", "min_rate_mbps", "mean_rate_mbps", "min_sinr_db", "worst_sir_db",
    "violation", "budget_violation", "total_power_w", "optimal_min_sinr_db", "bound_min_sinr_db", "best_sir_db",
    "sir_ceiling_db",
)  # fmt: skip
"""Columns of drops.csv; dB values are empty where the quantity is not defined."""
