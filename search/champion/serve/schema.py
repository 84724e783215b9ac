"""OpenAPI schema of `/predict` beyond its parameters: request body and error responses."""

from typing import Any

_SOUND = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}
REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A wav, flac, ogg, mp3, au or aiff file, or with PyAV an m4a, mp4, "
        "aac, webm, mka, wma or amr file, as the body or as the field of a form.",
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
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": _REFUSAL}
    for status, description in {
        401: "The token is missing or wrong.",
        408: "The body took too long to arrive.",
        413: "The body is too large, or the recording too long.",
        415: "The body is not audio that can be decoded.",
        422: "The audio cannot be classified, or a parameter is out of bounds.",
        503: "Too many requests are waiting; try again later.",
    }.items()
}
