"""LiteLLM's custom_auth: asks ai-admin whether a request may go on.

litellm.yaml beside this file names `ai_admin.check`. The body goes to ai-admin as it came, so that
one program alone reads the model in it. Of what this returns, LiteLLM enforces rate limits only:
everything else is decided here, by refusing.
"""

import os

import httpx
from fastapi import HTTPException, Request
from litellm.proxy._types import UserAPIKeyAuth

URL = "http://" + os.environ["AI_ADMIN"] + "/ai/admin/authorize/_"
TOKEN = os.environ["GATEWAY_TOKEN"]

# What identifies the caller. Nothing else of the client's request is passed on: what it claims in
# X-AI-... headers reaches neither ai-admin nor the provider.
CALLERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")

client = httpx.AsyncClient(timeout=10)


async def check(request: Request, api_key: str) -> UserAPIKeyAuth:
    headers = [(name, value) for name, value in request.headers.items() if name in CALLERS]
    headers.append(("x-ai-gateway-token", TOKEN))
    if request.method == "GET" and request.url.path.rstrip("/").endswith("/models"):
        headers.append(("x-ai-model", "*"))  # a listing of models asks for none in particular
    method = "POST" if request.method == "POST" else "GET"
    body = await request.body() if method == "POST" else None
    try:
        answer = await client.request(method, URL, headers=headers, content=body)
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


def number(text: str) -> int | None:
    return None if text == "unlimited" else int(text)
