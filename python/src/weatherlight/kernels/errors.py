"""What is wrong with a kernel, as a trainer reports it."""


class KernelError(Exception):
    """A kernel that cannot be attached.

    Attributes:
        reason: The `attach_reason` that the trainer reports.
    """

    reason: int = 0


class KernelInvalidError(KernelError):
    """The file is not a kernel of the profile."""

    reason = 4


class KernelMisfitError(KernelError):
    """The shapes of the kernel are not those that it is given."""

    reason = 5


class KernelFaultyError(KernelError):
    """The kernel failed, or what it computed is not finite."""

    reason = 6
