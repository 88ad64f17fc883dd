"""How figures are written for people. What is not known is a dash."""

from datetime import UTC, datetime

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def amount(number: int | None) -> str:
    """Write a whole number: "1,369,765"."""
    return "-" if number is None else f"{number:,}"


def short(number: float | None) -> str:
    """Write a number in three digits or four: "1.37 M"."""
    if number is None:
        return "-"
    scaled, unit = number, ""
    for larger in (" k", " M", " bn"):
        if abs(scaled) < 999.5:
            break
        scaled, unit = scaled / 1000, larger
    if not unit:
        return f"{scaled:,.0f}"
    return f"{scaled:.2f}{unit}" if abs(scaled) < 99.5 else f"{scaled:,.0f}{unit}"


def size(number: int) -> str:
    """Write a number of bytes: "12.3 MB"."""
    scaled, unit = float(number), _UNITS[0]
    for larger in _UNITS[1:]:
        if scaled < 999.5:
            break
        scaled, unit = scaled / 1000, larger
    return f"{scaled:.0f} {unit}" if unit == _UNITS[0] else f"{scaled:.1f} {unit}"


def share(number: float | None) -> str:
    """Write a share: "2.06 %"."""
    return "-" if number is None else f"{number:.2%}".replace("%", " %")


def dollars(number: float | None) -> str:
    """Write an amount of dollars: "$1,234.50"."""
    if number is None:
        return "-"
    return f"-${-number:,.2f}" if number < 0 else f"${number:,.2f}"


def moment(time: datetime) -> str:
    """Write a time to the minute: "2026-11-29 09:10 UTC"."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def change(now: float | None, before: float | None) -> str:
    """Write how much a figure has changed: "+3.1 %"; a dash where there is none before."""
    if now is None or not before:
        return "-"
    return f"{now / before - 1:+.1%}".replace("%", " %")


def points(now: float | None, before: float | None) -> str:
    """Write how much a share has changed, in points: "+0.31 points"; a dash without either."""
    if now is None or before is None:
        return "-"
    return f"{(now - before) * 100:+.2f} points"
