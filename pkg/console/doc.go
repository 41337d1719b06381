// Package console serves the pages for administrators: made on the server, of forms and links, and complete
// without JavaScript. A few modules make them quicker.
//
// A page reads and changes users by the same service as the other transports. What is streamed or audited
// there (exports, imports, secrets, keys, the change feed and the logs) is asked of the API's own routes, in
// the process, with the session's token. So scopes, rules and messages are written once.
//
// # Sessions
//
// A session is a cookie that the vault seals: it holds the token that signed in, and an end. Nothing is kept
// on the server. Each request authenticates the token again, so that a revoked token ends all its sessions.
//
// # Safety
//
// Every answer has a Content-Security-Policy that allows the console's own files alone, and no inline code.
// Requests that change something are refused when they come from another origin. A secret is shown in the
// answer to a POST, on a page that is left after a minute. Templates escape what they show.
package console
