"""Errors that are shown as their message alone, never with a traceback."""


class UserError(Exception):
    """Something the user can mend before any work starts: what was found and what to do."""

    status = 2


class StorageFull(UserError):
    """Nothing more can be written; what was finished is kept and the same command goes on from there."""

    status = 1
