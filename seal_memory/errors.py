"""The error tree: every error that the public API raises.

SealMemoryError
├── InputError            an argument cannot be used (also a ValueError)
│   ├── PromptTooLongError a prompt and its answer do not fit the model's context
│   ├── SettingsError     a setting is out of range or unknown
│   └── UnknownIdError    an id, version, session or source that this memory does not have
├── ModelUnavailableError a model name, folder or file that cannot be loaded
├── EngineUnavailableError an engine's server cannot be reached, or has no room now
├── LedgerError           the database cannot be opened, read or written
│   ├── NewerSchemaError  written by a newer seal-memory
│   ├── QuotaError        the namespace holds as much as it may
│   └── BusyError         another process holds the lock that this call needs
│       └── ChangedError  a forget, correction or rollback came while this call trained
└── AdapterError          an adapter file is missing, damaged or of another base model
    ├── CorruptAdapterError
    └── BaseModelMismatchError

A refused adapter is a *result* (`records.Decision`), not an error. Messages name the value, what was expected, and the
way out. Not here: the server's HTTP statuses (`server.errors`), frameworks' own errors (`frameworks.errors`).
"""

from __future__ import annotations

__all__ = [
    "AdapterError",
    "BaseModelMismatchError",
    "BusyError",
    "ChangedError",
    "CorruptAdapterError",
    "EngineUnavailableError",
    "InputError",
    "LedgerError",
    "ModelUnavailableError",
    "NewerSchemaError",
    "PromptTooLongError",
    "QuotaError",
    "SealMemoryError",
    "SettingsError",
    "UnknownIdError",
]


class SealMemoryError(Exception):
    """Base of every error raised by seal-memory."""


class InputError(SealMemoryError, ValueError):
    """An argument cannot be used."""


class PromptTooLongError(InputError):
    """A prompt and its answer do not fit the model's context."""


class SettingsError(InputError):
    """A setting is unknown or out of range."""


class UnknownIdError(InputError):
    """An id, version, session or source that this memory does not have."""


class ModelUnavailableError(SealMemoryError):
    """A model cannot be found or loaded."""


class EngineUnavailableError(SealMemoryError):
    """An engine's server cannot be reached, broke off, or has no room; try again later."""


class LedgerError(SealMemoryError):
    """The ledger cannot be opened, read or written."""


class NewerSchemaError(LedgerError):
    """The ledger was written by a newer seal-memory."""


class QuotaError(LedgerError):
    """A namespace holds as much text as it may: nothing of the call was recorded."""


class BusyError(LedgerError):
    """Another process holds the lock that this call needs."""


class ChangedError(BusyError):
    """What was trained on was forgotten, corrected or rolled back meanwhile: nothing of it is published."""


class AdapterError(SealMemoryError):
    """An adapter cannot be used."""


class CorruptAdapterError(AdapterError):
    """An adapter file is missing or its checksum is wrong."""


class BaseModelMismatchError(AdapterError):
    """An adapter was trained on another base model."""
