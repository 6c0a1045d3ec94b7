"""Unit and axes of the arrays of the tracking system, as stored."""

from isac_torch.fields import LABEL_FIELDS, Field, field

FIELDS: dict[str, Field] = {
    "drop/tx_position": field("m", "drop ap xyz"),
    "drop/tx_orientation": field("rad", "drop ap"),
    "drop/rx_position": field("m", "drop rx xyz"),
    "drop/rx_orientation": field("rad", "drop rx"),
    "drop/ue_position": field("m", "drop ue xyz"),
    "drop/target_position": field("m", "drop target xyz"),
    "drop/ue_gain": field("1", "drop ue ap"),
    "drop/rx_gain": field("1", "drop ue rx"),
    "drop/pilot_power": field("W", "drop ue"),
    "drop/pilot": field("index of pilot", "drop ue"),
    "drop/serving_ap": field("index of ap", "drop ue serving"),
    "drop/sensing_ap": field("index of ap", "drop target sensing"),
    "drop/listening_ap": field("index of rx", "drop target listening"),
    "problem/signal": field("1/sqrt(W)", "drop ue serving"),
    "problem/leakage": field("1/W", "drop ue link"),
    "problem/coherent": field("1/sqrt(W)", "drop ue ue serving"),
    "problem/echo": field("1/W, any scale per constraint", "drop constraint link"),
    "problem/cross_echo": field("1/W, scale of echo", "drop constraint link"),
    "problem/echo_noise": field("1, scale of echo times W", "drop constraint"),  # only where some constraint has noise
    "problem/sir_min": field("1", "drop constraint"),
    "problem/budget": field("W", "drop ap"),
    "problem/link_ap": field("index of ap", "drop link"),
    "problem/link_gain": field("1", "drop link"),
    # Only where the requirement compares with uniform power, or asks for information on positions:
    "problem/reference": field("W", "drop link"),
    "problem/position.energy": field("1/W", "drop target listening link"),
    "problem/position.cross": field("1/W", "drop target listening link"),
    "problem/position.spread": field("1/W", "drop target listening link"),
    "problem/position.arrival": field("1/m", "drop target listening xyz"),
    "problem/position.departure": field("1/m", "drop target ap xyz"),
    "problem/position.prior": field("1/m2", "drop target xyz"),
    "problem/position.required": field("1/m2", "drop target"),
    "problem/position.link_ap": field("index of ap", "drop link"),
    **LABEL_FIELDS,
}
