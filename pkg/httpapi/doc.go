// Package httpapi serves users over HTTP: it decodes requests strictly, calls the one
// writer, and encodes what comes back. Every route is in [routes], every status in
// [statuses], and the handlers are composed in [New], in one place each.
//
// Handlers run concurrently and share nothing that changes but the CORS rules, which may
// be replaced at any time. Each is bounded: its body by a size, its time by the request's
// deadline. A handler returns an error instead of answering it; what is internal goes to
// the log under the request's id, and a panic is one such error.
package httpapi
