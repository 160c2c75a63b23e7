"""The OpenAPI document of the queue, as fal publishes one for each endpoint; derived from the schema. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from wan_core.endpoints import Endpoint

REQUEST_ID = {
    "name": "request_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "description": "The id of the request."},
}
WITH_LOGS = {
    "name": "logs",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "enum": [0, 1], "default": 0, "description": "1 to receive the log lines."},
}


SUBMISSION = (
    "Besides its fields, a request may name, in its query, `fal_webhook` (the public address its end is posted to, "
    "signed with a key of /.well-known/jwks.json) and `fal_max_queue_length`; in its headers, `x-fal-queue-priority` "
    "(low waits for all others), `x-fal-request-timeout` (seconds within which it has to begin), `X-Fal-Store-IO` (0 "
    "forgets it once it is answered) and `x-fal-object-lifecycle-preference` "
    '({"expiration_duration_seconds": …} forgets it and its files so long after its end).'
)
QUEUE_STATUS = {
    "title": "QueueStatus",
    "type": "object",
    "required": ["status", "request_id"],
    "properties": {
        "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]},
        "request_id": {"type": "string"},
        "gateway_request_id": {"type": "string", "description": "The same, for a request with a webhook."},
        "response_url": {"type": "string"},
        "status_url": {"type": "string"},
        "cancel_url": {"type": "string"},
        "queue_position": {"type": "integer", "description": "How many requests are ahead."},
        "logs": {"type": ["array", "null"], "items": {"type": "object", "additionalProperties": True}},
        "metrics": {"type": "object", "additionalProperties": True},
        "error": {"type": "string"},
        "error_type": {"type": "string"},
    },
}
CANCELLATION = {
    "title": "Cancellation",
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "enum": ["CANCELLATION_REQUESTED", "ALREADY_COMPLETED", "NOT_FOUND"]},
    },
}
FAILURE = {
    "title": "Failure",
    "description": "`detail` is a sentence, or a list of what is wrong where.",
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["loc", "msg", "type"],
                        "properties": {
                            "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                            "msg": {"type": "string"},
                            "type": {"type": "string"},
                            "url": {"type": "string"},
                            "ctx": {"type": "object", "additionalProperties": True},
                        },
                    },
                },
            ]
        },
        "error_type": {"type": "string"},
        "message": {"type": "string"},
    },
}


def document(endpoint: Endpoint, server: str, *, needs_key: bool) -> dict[str, Any]:
    """The document of the queue of `endpoint` at the address `server`."""
    requests = f"/{endpoint.id}/requests/{{request_id}}"
    documentation = f"https://fal.ai/models/{endpoint.id}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Queue OpenAPI for {endpoint.id}",
            "version": "1.0.0",
            "description": f"The OpenAPI schema for the {endpoint.id} queue.",
            "x-fal-metadata": {
                "endpointId": endpoint.id,
                "category": "image-to-video",
                "playgroundUrl": documentation,
                "documentationUrl": f"{documentation}/api",
            },
        },
        "servers": [{"url": server}],
        "security": [{"apiKeyAuth": []}] if needs_key else [],
        "components": {
            "securitySchemes": {
                "apiKeyAuth": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Key` and one of the server's keys.",
                }
            },
            "schemas": _schemas(endpoint),
        },
        "paths": {
            f"{requests}/status": {"get": _operation("QueueStatus", [REQUEST_ID, WITH_LOGS], 200, 202)},
            f"{requests}/cancel": {"put": _operation("Cancellation", [REQUEST_ID], 202, 400)},
            f"/{endpoint.id}": {
                "post": _operation("QueueStatus", [], 200)
                | {"description": SUBMISSION}
                | _takes(endpoint.inputs.__name__)
            },
            requests: {"get": _operation(endpoint.output.__name__, [REQUEST_ID], 200)},
        },
    }


def _schemas(endpoint: Endpoint) -> dict[str, Any]:
    models = [(endpoint.inputs, "validation"), (endpoint.output, "serialization")]
    _, schema = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas = {name: _in_order(facts) for name, facts in schema["$defs"].items()}
    return schemas | {"QueueStatus": QUEUE_STATUS, "Cancellation": CANCELLATION, "Failure": FAILURE}


def _in_order(facts: Mapping[str, Any]) -> dict[str, Any]:
    """fal tells its forms the order of the fields."""
    return {**facts, "x-fal-order-properties": list(facts["properties"])}


def _operation(answer: str, parameters: list[dict[str, Any]], *codes: int) -> dict[str, Any]:
    answers = {str(code): {"description": "The answer.", **_content(answer)} for code in codes}
    failure = {"description": "The request failed.", **_content("Failure")}
    return {"parameters": parameters, "responses": {**answers, "default": failure}}


def _takes(model: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, **_content(model)}}


def _content(model: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}}
