"""Unit and axes of the arrays of the downlink-pilot system, as stored."""

from isac_torch.fields import LABEL_FIELDS, Field, field

FIELDS: dict[str, Field] = {
    "drop/ap_position": field("m", "drop ap xy"),
    "drop/ue_position": field("m", "drop ue xy"),
    "drop/gain": field("1", "drop ue ap"),
    "drop/pilot": field("index of pilot", "drop ue"),
    "drop/gram_real": field("1", "drop ue ue"),
    "drop/gram_imag": field("1", "drop ue ue"),
    "drop/receives": field("1 where it receives", "drop ap", optional=True),
    "drop/path_cross_section": field("m2", "drop ue ap ap", optional=True),
    "drop/serves": field("1 where it serves", "drop ue ap", optional=True),
    "problem/gain": field("1/W", "drop ue ap"),
    "problem/estimate": field("1/W", "drop ue ap"),
    "problem/gram_real": field("1", "drop ue ue"),
    "problem/gram_imag": field("1", "drop ue ue"),
    "problem/same_pilot": field("1 where shared", "drop ue ue"),
    "problem/fisher_xx": field("1/(m2 W)", "drop ue ap"),
    "problem/fisher_yy": field("1/(m2 W)", "drop ue ap"),
    "problem/fisher_xy": field("1/(m2 W)", "drop ue ap"),
    "problem/crb_max": field("m2", "drop ue"),
    "problem/weight": field("1", "drop ue"),
    "problem/budget": field("W", "drop ap"),
    "problem/link_ap": field("index of ap", "drop link"),
    "problem/link_gain": field("1", "drop link"),
    "problem/serves": field("1 where it serves", "drop ue ap", optional=True),
    **LABEL_FIELDS,
    "label/best_quality": field("1/m2", "drop"),
}
