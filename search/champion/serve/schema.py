"""What OpenAPI says of `/predict` beyond its parameters: what is sent, and what comes back."""

from typing import Any

_SOUND = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A wav, flac, ogg, mp3 or au file, by itself or as the field of a form.",
        "content": {
            "application/octet-stream": _SOUND,
            "audio/*": _SOUND,
            "multipart/form-data": _FORM,
        },
    }
}

_REFUSAL = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["error", "detail"],
            "properties": {"error": {"type": "string"}, "detail": {"type": "string"}},
        }
    }
}
ANSWERS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": _REFUSAL}
    for status, description in {
        401: "There is no token, or not the right one.",
        408: "The body took too long to arrive.",
        413: "The body is too large, or the recording too long.",
        415: "It is no audio that can be decoded.",
        422: "It is audio that nothing can be said of, or a parameter is out of bounds.",
        503: "Too many requests are waiting; try again later.",
    }.items()
}
