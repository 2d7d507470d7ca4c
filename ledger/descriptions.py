"""Default descriptions of rows, used if the writer gives none: the resource and the computation, as far as the ledger
knows them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from ledger.commands import Period, Ref
from ledger.kinds import RefType
from ledger.money import format_nanos

_TITLES: Final = {
    RefType.GPU_INSTANCE: "GPU Instance",
    RefType.INFERENCE_INSTANCE: "Inference Instance",
    RefType.VOLUME: "Cloud drive",
    RefType.SHARED_FILESYSTEM: "Shared filesystem",
}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def title(ref: Ref) -> str:
    """Returns the title of a resource: "GPU Instance #132"."""
    return f"{_TITLES[ref.type]} #{ref.id}"


def dollars(nanos: int) -> str:
    return f"-${format_nanos(-nanos)}" if nanos < 0 else f"${format_nanos(nanos)}"


def duration(time: timedelta) -> str:
    """Formats whole seconds as "24h", "2d 1h 30m" or "0s". Days are used from two days on."""
    rest = int(time.total_seconds())
    parts = []
    for seconds, unit in _UNITS if rest >= 2 * 86_400 else _UNITS[1:]:
        count, rest = divmod(rest, seconds)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def _cycle(ref: Ref, cycle: int) -> str:
    return f"cycle {cycle}" if ref.type == RefType.INFERENCE_INSTANCE else ""


def hold(ref: Ref, period: Period, cycle: int) -> str:
    """Example: GPU Instance #132: hold for 1h; Inference Instance #7: hold for 24h, cycle 2"""
    of_cycle = _cycle(ref, cycle)
    return f"{title(ref)}: hold for {duration(period.end - period.start)}" + (f", {of_cycle}" if of_cycle else "")


def settlement(ref: Ref, held_nanos: int, used_nanos: int, cycle: int) -> str:
    """Example: GPU Instance #132: used $0.83 of the $2.49 held; Inference Instance #7: cycle 2 used $25.00, $1.00
    beyond …"""
    of_cycle = _cycle(ref, cycle)
    subject = f"{title(ref)}: {of_cycle} used" if of_cycle else f"{title(ref)}: used"
    if used_nanos <= held_nanos:
        return f"{subject} {dollars(used_nanos)} of the {dollars(held_nanos)} held"
    return f"{subject} {dollars(used_nanos)}, {dollars(used_nanos - held_nanos)} beyond the {dollars(held_nanos)} held"


def api_usage(models: Collection[str], calls: int, input_tokens: int, output_tokens: int) -> str:
    """Example: API usage m-large: 812 calls, 1,204,000 in + 310,500 out tokens; API usage of 3 models: 1 call"""
    subject = f"API usage {next(iter(models))}" if len(models) == 1 else f"API usage of {len(models)} models"
    counted = f"{calls:,} call{'' if calls == 1 else 's'}"
    if not (input_tokens or output_tokens):
        return f"{subject}: {counted}"
    return f"{subject}: {counted}, {input_tokens:,} in + {output_tokens:,} out tokens"


def bonus(promotion: str, amount_nanos: int) -> str:
    return f"Promotion {promotion}: {dollars(amount_nanos)} of credit"


def contract(name: str, cash_nanos: int, bonus_nanos: int) -> tuple[str, str]:
    """Returns the descriptions of the cash row and of the bonus row."""
    subject = f"Enterprise contract {name}:"
    if not bonus_nanos:
        return f"{subject} {dollars(cash_nanos)} of credit", ""
    total = f"{subject} {dollars(cash_nanos)} contract → {dollars(cash_nanos + bonus_nanos)} total credit"
    return total, f"{total}, with {dollars(bonus_nanos)} as bonus_grant"
