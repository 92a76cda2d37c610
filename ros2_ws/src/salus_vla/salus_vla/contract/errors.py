"""Errors that a user can act on: each names the file, key, topic or value and what was expected."""


class SalusError(Exception):
    """Base of every error that SALUS raises on purpose; the CLI prints it without a traceback."""


class ConfigError(SalusError):
    """A configuration file, parameter or argument is wrong."""


class ModelError(SalusError):
    """A policy checkpoint is missing, does not fit this robot, or does not fit the other members."""


class MessageError(SalusError):
    """A message of a topic cannot be read or breaks the contract; it is refused, and the node goes on."""


class SimulatorError(SalusError):
    """The simulator could not be built or did not keep the contract."""


class RecordingError(SalusError):
    """A bag or a run folder cannot be written, read or recovered."""


class DatasetError(SalusError):
    """A data set cannot be exported, written or read."""


class TrainingError(SalusError):
    """Training cannot start or go on with these settings, this data or this checkpoint."""


class LaunchError(SalusError):
    """A launch file uses something the runner does not know, or a process could not be started."""
