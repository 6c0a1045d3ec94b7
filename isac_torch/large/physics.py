"""The shared physics under numpy's types: the same functions, which are annotated for tensors and take both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numpy import ndarray

from isac_torch.propagation import arrays, correlation, path_loss
from isac_torch.tracking import roles

Law = Callable[..., ndarray]

umi_nlos_gain = cast(Law, cast(Any, path_loss.umi_nlos_gain))
umi_los_gain = cast(Law, cast(Any, path_loss.umi_los_gain))
response_lags = cast(Law, cast(Any, arrays.response_lags))
turned = cast(Law, cast(Any, arrays.turned))
weights_of = cast(Law, cast(Any, arrays.weights_of))
local_scattering_lags = cast(Law, cast(Any, correlation.local_scattering_lags))
pointing_lags = cast(Law, cast(Any, correlation.pointing_lags))
farthest_point = cast(Law, cast(Any, roles.farthest_point))
