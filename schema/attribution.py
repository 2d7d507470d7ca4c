"""The arguments and fields that say who spent."""

from __future__ import annotations

from typing import Final

from ledger.texts import API_KEY, PROJECT

OF_KEY: Final = (
    "The customer's API key to which the cost is attributed, by its id at the platform, such as `key_9f2`. It is not"
    " one of this API's keys."
)
OF_PROJECT: Final = "The customer's project to which the cost is attributed."

KEY_ARGUMENT: Final = f"{OF_KEY} It has {API_KEY.bounds}."
PROJECT_ARGUMENT: Final = f"{OF_PROJECT} Its name has {PROJECT.bounds}."

UNKNOWN: Final = "Null if it was not named."
