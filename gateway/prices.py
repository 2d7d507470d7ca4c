"""The operator's price file, which the settings name. It is read when the process starts."""

from __future__ import annotations

from pathlib import Path

from gateway.settings import Settings
from ledger.errors import BadUserInput
from ledger.price_file import read_prices
from ledger.prices import Prices


def open_prices(settings: Settings) -> Prices:
    """Returns no prices without a price file. Raises BadUserInput, whose message names the file."""
    if settings.price_file is None:
        return Prices(with_list=False)
    path = Path(settings.price_file)
    try:
        with path.open("rb") as file:
            return read_prices(file, live=True)
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise BadUserInput(msg) from error
    except BadUserInput as error:
        msg = f"{path}: {error}"
        raise BadUserInput(msg) from error
