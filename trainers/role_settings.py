"""Settings of the training of the network that scores sets of receive APs; plain Python, for the command line."""

from dataclasses import dataclass

from isac_torch.errors import IsacError


@dataclass(frozen=True)
class Block:
    """Blocks of one size class in one round.

    Attributes:
        size: of the network, such as 16x16x4.
        blocks: how many, each with a seed of its own.
        drops: of each block.
        sets: of each drop, besides the default roles.
    """

    size: str
    blocks: int
    drops: int
    sets: int

    def __post_init__(self) -> None:
        """Refuse a block without labels."""
        for name in ("blocks", "drops", "sets"):
            if getattr(self, name) < 1:
                raise IsacError(f"{name}={getattr(self, name)} of {self.size} must be at least 1; leave the block out")


@dataclass(frozen=True)
class ScorerSettings:
    """How the network is fitted.

    Attributes:
        hidden: width.
        epochs: passes over all labels.
        learning_rate: of AdamW at its highest; falls to 2 % of it on a cosine.
        weight_decay: of AdamW.
        gain_weight: of the error of the log ratio beside the cross-entropy of the odds.
    """

    hidden: int = 32
    epochs: int = 40
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    gain_weight: float = 3.0

    def __post_init__(self) -> None:
        """Refuse a network or a training of no size."""
        for name in ("hidden", "epochs"):
            if getattr(self, name) < 1:
                raise IsacError(f"{name}={getattr(self, name)} must be at least 1")
