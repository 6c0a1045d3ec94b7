"""What all networks that predict directions have in common: powers and training loss by the balancing layer."""

from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.nn.tracking.merit import MAX_MIN, Aim, directed_power, training_loss
from isac_torch.tracking.problem import MaxMinSinrProblem


class DirectionNetwork(nn.Module):
    """A network whose logits are directions: how each UE and each target divides its power over its APs."""

    def power(
        self, problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], aim: Aim = MAX_MIN
    ) -> Float[Tensor, "drop link"]:
        """Powers (W) of the logits that the network gives."""
        return directed_power(problem, logits, aim)

    def loss(
        self, problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], sensing_weight: float, aim: Aim = MAX_MIN
    ) -> Float[Tensor, " drop"]:
        """What training minimises, per drop."""
        return training_loss(problem, logits, sensing_weight, aim)
