"""What the numbers and pictures of a report mean, one sentence each; docs/evaluation.md has the definitions in full."""

EXTRA_COLUMNS = (
    ("rate_vs_fpc_0_1", "x FPC", "{:.2f}"),
    ("ratio_to_bound_mean", "to bound", "{:.4f}"),
    ("best_effort_sir_mean", "best effort", "{:.3f}"),
)
"""Key in summary.json, heading and format of columns that the page has room for beside those of the terminal's table."""

ALLOCATORS = {
    "upc": "the same power to every link of an AP",
    "ppc": "power in proportion to each link's gain",
    "fpc_0_1": "fractional power control with exponents 0 (UEs) and 1 (targets)",
    "opc_paper": "the paper's successive convex approximation, as printed",
    "opc_global": "certified optimum, readable reference",
    "opc_batched": "certified optimum, batched engine",
    "first_order": "plain gradient ascent through the balancing layer, no network",
    "gnn": "the trained network's powers, nothing else",
    "gnn_shipped": "the network whose weights come with the package",
    "gnn_repaired": "the network; drops that miss a constraint go to the batched engine",
    "opc_dominate": "certified optimum that senses no worse than uniform power: scan cells, SICNR, position information",
    "opc_dominate_fair": "the same requirement; smallest rate of the optimum, then the fairest mean rate above it",
    "opc_dominate_roles": "the same requirement, with receive APs chosen anew in every drop for the smallest rate",
    "opc_dominate_joint": "the same requirement, with receive APs and serving sets chosen together, as many links in all",
    "opc_dominate_scored_roles": "the same requirement, with receive APs that a network puts first",
    "opc_sense_roles": "the same requirement, with receive APs chosen anew in every drop, and more SICNR, for the targets",
    "gnn_dominate": "the trained network under the same requirement, kept by a guard without a certificate",
    "gnn_dominate_one_shot": "one pass of the same network and the guard, without steps of ascent",
    "gnn_dominate_roles": "the same network after the choice of receive APs",
    "gnn_dominate_scored_roles": "the same network with receive APs that another network puts first",
    "newton_dominate": "the guard's Newton steps from uniform power, without a network",
    "gnn_refined": "the network, followed by a few rounds of the batched engine, with a certificate",
}
"""What stands behind the name of a row."""

KEYS = {
    "num_drops": "Drops that this allocator was given.",
    "min_rate_ratio_mean": "Smallest rate in a drop over that of the certified optimum, capped at 1 where a constraint is "
    "broken; mean over the counted drops.",
    "min_rate_ratio_p5": "The ratio that 5 % of the counted drops stay below.",
    "min_rate_ratio_worst": "The smallest ratio of all counted drops.",
    "min_rate_ratio_max": "Largest ratio of drops without violation; with orthogonal pilots more than 1.001 is a bug.",
    "min_rate_ratio_valid_mean": "Mean ratio with 0 for every drop that breaks a constraint: the strictest of the means.",
    "valid_drop_share": "Share of the counted drops in which no budget or sensing constraint is broken by more than 1e-6.",
    "min_rate_mbps_mean": "Smallest rate of a drop, mean over the counted drops, Mbit/s.",
    "mean_rate_mbps": "Rate of a UE, mean over UEs and counted drops, Mbit/s.",
    "sir_violation_rate": "Share of the feasible drops' targets whose SIR is more than 0.1 dB below the required one.",
    "budget_violation_max": "Largest overload of any AP, relative to its budget.",
    "ms_per_drop": "Wall time of the allocator over its number of drops, ms, after a warm-up; channel statistics excluded.",
    "ratio_to_bound_mean": "Smallest rate over that of the certified upper bound, which no powers exceed: the true ratio is at "
    "least this.",
    "rate_vs_fpc_0_1": "Mean smallest rate over that of fpc_0_1 on the same drops.",
    "rate_over_upc": "Mean smallest rate over that of uniform power on the same drops.",
    "rate_over_upc_worst": "Smallest ratio of any drop's smallest rate to that with uniform power.",
    "rate_mbps_p5": "The rate that 5 % of the UEs of the counted drops stay below, Mbit/s.",
    "mean_rate_over_upc": "Mean rate of a UE over that with uniform power on the same drops.",
    "sicnr_minus_upc_db_mean": "True SICNR less that with uniform power, dB, mean over targets.",
    "sicnr_minus_upc_db_median": "Median SICNR less the median with uniform power, dB.",
    "sicnr_minus_upc_db_p10": "10 % quantile of the SICNR less that with uniform power, dB: the worst targets.",
    "miss_probability_minus_upc": "Miss probability less that with uniform power.",
    "position_error_m": "Error bound of a target's horizontal position after one look, m, root mean square over targets.",
    "position_error_minus_upc_m": "The same less that with uniform power, m.",
    "power_w_mean": "Power of all APs together, W, mean over the counted drops.",
    "infeasible": "Drops proven infeasible under what this allocator is asked; left out of ratios and rates.",
    "gap_p99": "99 % quantile of the certified relative gap of the smallest SINR.",
    "best_effort_sir_mean": "On infeasible drops: worst target's SIR over the largest that any powers reach.",
    "sicnr_db_median": "Median SICNR of a target by true echoes, clutter and noise, dB, on the first drops.",
    "miss_probability": "Probability that the tracking test misses a target, at its own false-alarm rate of 1e-2.",
}
"""Meaning of each key of summary.json."""

PICTURES = {
    "cdf_min_rate": "Smallest rate of every counted drop: the curve further right serves its worst UE better.",
    "learned_v_optimal": "One point per drop: on the diagonal the policy equals the certified optimum.",
    "ratio_histogram": "How many drops reach which share of the optimum's smallest rate.",
    "loss": "Share of the drops that lose at most so much; every violation counts as a total loss.",
    "violations": "Drops in which anything is broken, and targets that are missed by more than 0.1 dB.",
    "sinr_per_ue": "One point a UE. Max-min powers give most UEs of a drop one common SINR; a UE below the diagonal gets less "
    "than at the optimum.",
    "cdf_sir": "Sensing SIR of every target; left of the line a target is missed.",
    "cdf_rate": "Rate of every UE. Max-min gives up the best UEs' rates for the worst one's.",
    "powers_typical": "Power from every AP (row) to every UE and at every target (column) on the drop with the median ratio.",
    "powers_worst": "The same on the drop with the smallest ratio: where the policy decides differently.",
    "load_worst": "The drop with the smallest ratio from above; colour is the share of its budget that an AP sends.",
    "network_map": "One network from above; a link's width grows with the square root of its power.",
}
"""What each picture shows, in the order of the page."""

CURVES = {
    "val/min_rate_ratio": "Validation: smallest rate over the stored optimum's, mean",
    "val/min_rate_ratio_p5": "Validation: the same, 5 % quantile",
    "val/min_rate_ratio_worst": "Validation: the same, worst drop",
    "val/sir_violation_rate": "Validation: share of targets below SIR0 - 0.1 dB",
    "val/min_sinr_db": "Validation: smallest SINR, dB, mean over drops",
    "train/loss": "Training loss, mean of the batch",
    "train/min_sinr_db": "Training: smallest SINR, dB, mean over drops",
    "train/sir_violation_rate": "Training: share of sensing constraints missed",
    "train/row_multiplier": "Multiplier of the sensing constraints",
    "train/supervised_share": "Share of the supervised loss",
    "train/gradient_norm": "Length of the gradient before clipping",
    "train/learning_rate": "Learning rate",
}
"""Headings of training curves, in the order of the page."""
