"""Texts of charts and pages: printable, shortened, capitalized."""

_CONTROL = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10}, "\N{REPLACEMENT CHARACTER}")


def printable(text: object) -> str:
    """`text` without control characters and undecodable bytes of file names."""
    return str(text).encode("utf-8", "replace").decode().translate(_CONTROL)


def shortened(content: object, most: int = 26) -> str:
    """`content` as text, with its middle left out if it is longer than `most` characters."""
    full = printable(content)
    if len(full) <= most:
        return full
    head = most // 2
    return f"{full[:head]}…{full[-(most - head - 1) :]}"


def capitalized(text: str) -> str:
    """A word at the start of a sentence; "mAP" stays as it is."""
    return text if text == "mAP" else text[:1].upper() + text[1:]
