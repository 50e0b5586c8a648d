"""Reads a large json file entry by entry, so that it is never in memory as Python objects as a whole."""

import json
import re
from collections.abc import Iterator
from typing import Any

SPACE = re.compile(r"[ \t\n\r]*")


def stream_json(text: str) -> Iterator[tuple[str, Any]]:
    """Yields the members of a json object as (key, value), those that are arrays element by element.

    Raises:
        json.JSONDecodeError: the text is not a json object.
    """
    decoder = json.JSONDecoder()

    def decode(text: str, at: int) -> tuple[Any, int]:
        try:
            return decoder.raw_decode(text, at)
        except RecursionError as error:
            raise json.JSONDecodeError("Nested too deeply", text, at) from error

    def skip(at: int) -> int:
        match = SPACE.match(text, at)
        return match.end() if match else at

    def expect(at: int, characters: str) -> str:
        found = text[at : at + 1]
        if not found or found not in characters:
            raise json.JSONDecodeError(f"Expecting one of {characters!r}", text, at)
        return found

    at = skip(0)
    separator = expect(at, "{")
    at = skip(at + 1)
    if text[at : at + 1] == "}":
        return
    while separator != "}":
        key, at = decode(text, at)
        at = skip(at)
        expect(at, ":")
        at = skip(at + 1)
        if text[at : at + 1] != "[":
            value, at = decode(text, at)
            yield key, value
        elif text[(inside := skip(at + 1)) : inside + 1] == "]":
            at = inside + 1
        else:
            while text[at] != "]":
                element, at = decode(text, skip(at + 1))
                yield key, element
                at = skip(at)
                expect(at, ",]")
            at += 1
        at = skip(at)
        separator = expect(at, ",}")
        at = skip(at + 1)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
