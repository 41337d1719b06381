"""Plays LiteLLM's proxy: asks ai_admin.check about each request, and answers what it returned with
the body that is left to read. Its own type of what a key may do refuses fields that LiteLLM's does
not have."""

import sys
import types

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel


class UserAPIKeyAuth(BaseModel, extra="forbid"):
    api_key: str
    user_id: str
    rpm_limit: int | None
    tpm_limit: int | None
    metadata: dict


for name in ("litellm", "litellm.proxy", "litellm.proxy._types"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["litellm.proxy._types"].UserAPIKeyAuth = UserAPIKeyAuth

from ai_admin import check  # noqa: E402  once it can import LiteLLM

app = FastAPI(openapi_url=None)


async def checked(request: Request) -> UserAPIKeyAuth:
    return await check(request=request, api_key=request.headers.get("authorization", ""))


@app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
async def serve(request: Request, allowed: UserAPIKeyAuth = Depends(checked)) -> dict:
    return {**allowed.dict(), "body": (await request.body()).decode()}
