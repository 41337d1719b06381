"""LiteLLM's custom_auth: asks ai-admin whether a request may go on.

litellm.yaml beside this file names `ai_admin.check`. The body goes to ai-admin as it came, so that
one program alone reads the model in it. Of what this returns, LiteLLM enforces rate limits only:
everything else is decided here, by refusing.
"""

import json
import os

import httpx
from fastapi import HTTPException, Request
from litellm.proxy._types import UserAPIKeyAuth

URL = "http://" + os.environ["AI_ADMIN"] + "/ai/admin/authorize/_"
TOKEN = os.environ["GATEWAY_TOKEN"]

# What identifies the caller. Nothing else of the client's request is passed on: what it claims in
# X-AI-... headers reaches neither ai-admin nor the provider.
CALLERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")

# What clients may ask for, with or without /v1: the routes on which LiteLLM takes the model from the
# body. On others the path names it, or they are LiteLLM's own administration.
ROUTES = {"/chat/completions", "/completions", "/embeddings", "/responses", "/messages", "/moderations",
          "/images/generations", "/audio/speech", "/rerank"}

# Members of a body, by how they begin, with which LiteLLM uses another model, provider or credential
# than those that were checked.
DETOURS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "user_config", "router_settings_override",
           "model_list", "prompt_id", "custom_llm_provider", "api_base", "base_url", "api_key", "extra_", "mock_")

client = httpx.AsyncClient(timeout=10)


async def check(request: Request, api_key: str) -> UserAPIKeyAuth:
    headers = [(name, value) for name, value in request.headers.items() if name in CALLERS]
    headers.append(("x-ai-gateway-token", TOKEN))
    path, body = request.scope["path"].removeprefix("/v1"), None
    if request.method == "GET" and path == "/models":
        headers.append(("x-ai-model", "*"))  # a listing of models asks for none in particular
    elif request.method == "POST" and path in ROUTES:
        body = await request.body()
        refuse_detours(request, body)
    else:
        raise HTTPException(403, f"{request.method} {request.scope['path']} is not served here")
    try:
        answer = await client.request(request.method, URL, headers=headers, content=body)
    except httpx.HTTPError as fault:  # nobody is let in without a check
        raise HTTPException(503, "access cannot be checked at present", {"Retry-After": "3"}) from fault
    if answer.status_code in (401, 403):
        raise HTTPException(answer.status_code, answer.json().get("detail"))
    if answer.status_code != 200:
        raise HTTPException(503, "access cannot be checked at present", {"Retry-After": "3"})
    told = answer.headers
    return UserAPIKeyAuth(
        api_key=told["x-ai-key"],
        user_id=told["x-ai-user"],
        rpm_limit=number(told["x-ai-requests-per-minute"]),
        tpm_limit=number(told["x-ai-tokens-per-minute"]),
        metadata={"tag": told["x-ai-user-tag"], "role": told["x-ai-role"], "version": told["x-ai-version"]},
    )


def refuse_detours(request: Request, body: bytes) -> None:
    """Refuses what LiteLLM would read otherwise than ai-admin, or send elsewhere."""
    if request.scope["query_string"]:
        raise HTTPException(400, "send no query: LiteLLM takes a model from there, too")
    if any("form" in value.lower() for value in request.headers.getlist("content-type")):
        raise HTTPException(415, "send the request as JSON")  # LiteLLM would read it as a form
    try:
        members = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise HTTPException(400, "the body is not JSON") from fault
    if not isinstance(members, dict):
        raise HTTPException(400, "the body is not a JSON object")
    if "," in str(members.get("model", "")):
        raise HTTPException(403, "model names several models, of which none was checked")
    for name in members:
        if name.startswith(DETOURS):
            raise HTTPException(403, f"{name} is not allowed: it could lead to a model that was not checked")


def number(text: str) -> int | None:
    return None if text == "unlimited" else int(text)
