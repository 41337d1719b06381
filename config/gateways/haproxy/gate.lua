-- The check for haproxy.cfg. The body goes to ai-admin as far as HAProxy holds it, so that one
-- program alone reads the model in it. A body that is cut off is not complete JSON, and its model is unknown.

local url = "http://" .. os.getenv("AI_ADMIN") .. "/ai/admin/authorize/openai"
local token = os.getenv("GATEWAY_TOKEN")

-- What identifies the caller, and how the body is to be read; every value of each, since two are a reason to refuse.
local passed = { "authorization", "x-api-key", "api-key", "x-goog-api-key", "content-type", "content-encoding" }

local answered = {
    "x-ai-user", "x-ai-user-tag", "x-ai-role", "x-ai-key", "x-ai-model", "x-ai-requests-per-minute",
    "x-ai-tokens-per-minute", "x-ai-monthly-budget-usd", "x-ai-version",
}

local function ask(txn)
    local headers, sent = {}, txn.http:req_get_headers()
    for _, name in ipairs(passed) do
        if sent[name] then
            headers[name] = {}
            for i = 0, #sent[name] do
                table.insert(headers[name], sent[name][i])
            end
        end
    end
    headers["x-ai-gateway-token"] = { token }
    local request = { url = url, headers = headers, timeout = 10000 }
    if txn.sf:method() == "POST" then
        request.body = txn.sf:req_body()
        return core.httpclient():post(request)
    end
    if txn.sf:method() == "GET" and txn.sf:path() == "/v1/models" then
        headers["x-ai-model"] = { "*" } -- a listing of models asks for none in particular
    end
    return core.httpclient():get(request)
end

local function refuse(txn, status, from)
    local reply = txn:reply({ status = status })
    for _, name in ipairs({ "content-type", "www-authenticate", "cache-control" }) do
        if from and from.headers and from.headers[name] then
            reply:add_header(name, from.headers[name][0])
        end
    end
    if status == 503 then
        reply:add_header("retry-after", "3")
    end
    reply:set_body(from and from.body or "")
    txn:done(reply)
end

core.register_action("check", { "http-req" }, function(txn)
    local answer = ask(txn)
    if answer and (answer.status == 401 or answer.status == 403 or answer.status == 503) then
        return refuse(txn, answer.status, answer)
    end
    -- Nobody is let in without a check.
    if not answer or answer.status ~= 200 or not answer.headers["x-ai-credential"] then
        return refuse(txn, 503, nil)
    end
    for _, name in ipairs(answered) do
        txn.http:req_set_header(name, answer.headers[name][0])
    end
    txn:set_var("txn.ai_credential", answer.headers["x-ai-credential"][0])
end, 0)
