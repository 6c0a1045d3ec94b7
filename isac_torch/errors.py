"""Errors a user can cause. Each message is one line: the value, the rule it breaks, the remedy."""


class IsacError(ValueError):
    """Base of every error that a user's input can raise; the command line turns it into one line and exit code 2.

    Example:
        >>> from isac_torch import IsacError, TrackingScenario
        >>> try:
        ...     TrackingScenario(num_ues=0)
        ... except IsacError as error:
        ...     print(error)
        num_ues=0 must be at least 1
    """


class ScenarioError(IsacError):
    """A scenario whose parameters cannot describe a network."""


class DropError(IsacError):
    """A network (positions, gains, sets, powers) with a wrong shape, unit or value."""


class NpzError(IsacError):
    """An npz file that is damaged, too large, or holds something other than plain arrays."""


class ProblemError(IsacError):
    """A power problem or powers with the wrong shape, a NaN or a value outside its physical range."""


class AllocationError(IsacError):
    """An allocator could not answer and the caller asked for an exception instead of a status."""


class GeometryError(IsacError):
    """Positions or gains from outside that describe no network."""


class DatasetError(IsacError):
    """A shard or data set that is missing, truncated, corrupt or made by something else."""


class CheckpointError(IsacError):
    """Weights that are missing, corrupt, of another system or of another feature version."""


class BundleError(IsacError):
    """An exported allocator that is missing, damaged, of another version, or does not answer as the network it comes from."""


class OutputError(IsacError):
    """A file or folder that cannot be written: no permission, no space, something else in its place."""


class RequestError(IsacError):
    """A request to a server that asks for more than its limits allow, or limits that let nothing through."""
