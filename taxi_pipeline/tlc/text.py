"""Others' text as our messages, logs and previews show it: on one line, harmless and cut.

What is shown only. As data a text stays as it was published.
"""

CHARACTERS = 200


def printable(text: str, most: int = CHARACTERS) -> str:
    """Return a text with what does not print escaped, as `repr` does.

    So no escape sequence reaches a terminal, no line break forges a line of a log, and no override
    of the writing's direction hides what stands there.

    Args:
        text: The text.
        most: To how many characters it is cut before it is escaped, which may make it longer again.
    """
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in cut)
