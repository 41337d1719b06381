// Package console serves the pages for administrators: rendered on the server from forms and links, and
// complete without JavaScript. A few scripts make them quicker.
//
// A page reads and changes users by the same service as the other transports. For what is streamed or
// audited there (exports, imports, secrets, a user's keys and the change feed) it calls the API's own
// routes, in the process, with the session's token. So scopes, rules and messages are written once.
//
// # Sessions
//
// A session is a cookie that the vault seals. It holds the token that signed in, and when the session ends.
// Nothing is kept on the server. Each request authenticates the token again, so that a revoked token ends
// all its sessions.
//
// # Safety
//
// Every answer has a Content-Security-Policy that allows the console's own files alone, and no inline code.
// Requests that change something are refused when they come from another origin. A secret is shown in the
// answer to a POST, on a page that the browser leaves after a minute. Templates escape what they show.
package console
