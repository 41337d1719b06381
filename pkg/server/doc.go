// Package server listens, serves HTTP/1.1 and h2c on one port, and stops without failing
// a request.
//
// A Server is serving, draining or stopped. It drains when the context given to Run ends: Draining
// turns true at once, so readiness fails and routers send no new work; requests that arrive anyway
// are still served. Once the drain delay has passed and no request is in flight, or 10 s after
// that, the listener closes; once the last request has been answered, Run returns. Only requests
// that outlive the grace period are cut off.
package server
