// Package server listens, serves HTTP/1.1 and h2c on one port, and stops without failing
// a request.
//
// A Server is serving, draining or stopped. It drains when the context given to Run ends:
// Draining turns true at once, so that readiness fails and no new work is routed here,
// while requests that come all the same are still served. Once it has been idle, and at
// least the drain delay has passed, or when the grace period is over, the listener closes
// and Run returns. Only requests that outlive the grace period are cut off.
package server
