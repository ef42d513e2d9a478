"""The gateway's OpenAPI document, made from the models that check requests."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from greenlight import __version__
from greenlight.core.types import JsonDict
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.gateway.requests import ChatRequest, CompletionRequest

REFUSALS = {
    "400": "The request is wrong: the message names field, value and limit.",
    "401": "No credential, or none that is accepted.",
    "403": "The credential lacks a scope.",
    "404": "There is no such model for this credential.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON in UTF-8.",
    "429": "A limit is reached: the message names it, and Retry-After says for how long.",
    "500": "The engine failed.",
    "502": "The engine failed while it answered.",
    "503": "No engine, or no store of limits, answers just now.",
    "504": "The engine sent nothing in time.",
}
ERROR: JsonDict = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}


def document(file: GatewayFile) -> JsonDict:
    """Return the document, OpenAPI 3.1."""
    shapes: list[type[BaseModel]] = [ChatRequest, CompletionRequest]
    _, schemas = models_json_schema(
        [(shape, "validation") for shape in shapes], ref_template="#/components/schemas/{model}"
    )
    definitions = schemas["$defs"]
    if file.requests.unknown_parameters == "refuse":
        definitions = {name: _closed(one) for name, one in definitions.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Greenlight gateway", "version": __version__},
        "components": {
            "schemas": {**definitions, "Error": ERROR},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
        "paths": {
            "/v1/chat/completions": {"post": _completion("ChatRequest", "Answer a chat.")},
            "/v1/completions": {"post": _completion("CompletionRequest", "Continue a text.")},
            "/v1/models": {"get": _read("The models of this credential.", secured=True)},
            "/v1/models/{model}": {
                "get": _read("One model.", secured=True, extra={"404": REFUSALS["404"]})
                | {
                    "parameters": [
                        {
                            "name": "model",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "string", "pattern": "^[^/]+$"},
                        }
                    ]
                }
            },
            "/healthz": {"get": _read("Whether the gateway lives.", secured=False)},
            "/readyz": {
                "get": _read(
                    "Whether an engine really answers.",
                    secured=False,
                    extra={"503": "Not ready; the reason is in the body."},
                )
            },
        },
    }


def _closed(schema: JsonDict) -> JsonDict:
    return schema | {"additionalProperties": False} if schema.get("type") == "object" else schema


def _completion(shape: str, summary: str) -> JsonDict:
    body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    answers = {"application/json": {"schema": {"type": "object"}}}
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "The answer, or a stream of it.", "content": answers | stream},
            **{status: _refused(text) for status, text in REFUSALS.items()},
        },
    }


def _read(summary: str, *, secured: bool, extra: dict[str, str] | None = None) -> JsonDict:
    refusals = {"401": REFUSALS["401"], "403": REFUSALS["403"], "503": REFUSALS["503"]}
    chosen = (refusals if secured else {}) | (extra or {})
    found: JsonDict = {
        "summary": summary,
        "responses": {
            "200": {
                "description": summary,
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **{
                status: _refused(text) if secured else _plain(text)
                for status, text in chosen.items()
            },
        },
    }
    return found if secured else found | {"security": []}


def _refused(text: str) -> JsonDict:
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {"description": text, "content": {"application/json": error}}


def _plain(text: str) -> JsonDict:
    return {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}
