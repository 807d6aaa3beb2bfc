"""Every error a user can meet, each with its exit code.

    DeploytkError                 1  a fault of deploytk itself
    ├── StepFailed                1  a child process crashed, ran out of memory or time
    ├── InputError                2  usage, profile, data or model file is wrong
    │   └── ProfileError          2  one or more wrong lines in a profile
    ├── RuleFailed                5  activation contract or NPU placement broken
    ├── MissingDependency         6  a library or a device is not there
    ├── TrainingFailed            7  training ended without a usable model
    └── ParityFailed              8  outputs or accuracy differ from the source model

Exit codes 3 (over budget) and 4 (inconclusive) are verdicts, not errors: see `deploytk.budget`.
"""

from __future__ import annotations

from typing import Literal

EXIT_PASS = 0
EXIT_FAULT = 1
EXIT_INPUT = 2
EXIT_OVER_BUDGET = 3
EXIT_INCONCLUSIVE = 4
EXIT_RULE = 5
EXIT_MISSING = 6
EXIT_TRAINING = 7
EXIT_PARITY = 8


class DeploytkError(Exception):
    """Base of all errors shown to a user: one message, one exit code."""

    exit_code = EXIT_FAULT

    def __init__(self, message: str, *, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        #: One sentence each; the message alone where there is only one.
        self.reasons = reasons or (message,)


StepFailure = Literal["crash", "oom", "timeout", "error"]


class StepFailed(DeploytkError):
    """A child process did not finish: `kind` says how, `log` and `command` let a user repeat it.

    `cause` is what happened in a few words, without the log and the command; `signal` the one that ended it, or 0.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: StepFailure = "error",
        log: str = "",
        command: str = "",
        cause: str = "",
        signal: int = 0,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.log = log
        self.command = command
        self.cause = cause or message
        self.signal = signal


class InputError(DeploytkError):
    """Something the user gave is wrong: what, where, and what to do stands in the message."""

    exit_code = EXIT_INPUT


class ProfileError(InputError):
    """A profile that cannot be used; one reason per wrong line."""


class RuleFailed(DeploytkError):
    """A rule of the target is broken."""

    exit_code = EXIT_RULE


class MissingDependency(DeploytkError):
    """A library or a device that this command needs is not installed."""

    exit_code = EXIT_MISSING


class TrainingFailed(DeploytkError):
    """Training ended without a model worth exporting."""

    exit_code = EXIT_TRAINING


class ParityFailed(DeploytkError):
    """A converted model does not do what its source does."""

    exit_code = EXIT_PARITY


#: By name, so that a child process can hand its error to the parent.
BY_NAME: dict[str, type[DeploytkError]] = {
    c.__name__: c
    for c in (
        DeploytkError,
        InputError,
        ProfileError,
        RuleFailed,
        MissingDependency,
        TrainingFailed,
        ParityFailed,
    )
}
