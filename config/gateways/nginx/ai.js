// The check for nginx.conf. The body goes to ai-admin as it is, so that one program alone reads
// the model in it: a second reader might see another one where a member is there twice.

const answered = {
    ai_user: 'X-AI-User',
    ai_user_tag: 'X-AI-User-Tag',
    ai_role: 'X-AI-Role',
    ai_key: 'X-AI-Key',
    ai_model: 'X-AI-Model',
    ai_requests: 'X-AI-Requests-Per-Minute',
    ai_tokens: 'X-AI-Tokens-Per-Minute',
    ai_budget: 'X-AI-Monthly-Budget-USD',
    ai_version: 'X-AI-Version',
    ai_credential: 'X-AI-Credential',
};

async function check(r) {
    let reply;
    try {
        const options = r.method === 'POST' ? {method: 'POST', body: r.requestText || ''} : {method: 'GET'};
        reply = await r.subrequest('/_ai_authorize', options);
    } catch (e) {
        r.error('the check failed: ' + e.message);
        return unavailable(r);
    }
    if (reply.status === 200) {
        for (const name in answered) {
            r.variables[name] = reply.headersOut[answered[name]];
        }
        return r.internalRedirect('@provider');
    }
    if (reply.status !== 401 && reply.status !== 403) {
        return unavailable(r);
    }
    ['Content-Type', 'WWW-Authenticate', 'Cache-Control'].forEach(function (name) {
        if (reply.headersOut[name]) {
            r.headersOut[name] = reply.headersOut[name];
        }
    });
    r.return(reply.status, reply.responseText);
}

// unavailable refuses while ai-admin cannot be asked: nobody is let in without a check.
function unavailable(r) {
    r.headersOut['Retry-After'] = '3';
    r.headersOut['Content-Type'] = 'application/problem+json';
    r.return(503, '{"title":"Service Unavailable","status":503,"errorCode":"DATABASE_UNAVAILABLE",' +
        '"detail":"access cannot be checked at present: try again shortly"}');
}

export default {check};
