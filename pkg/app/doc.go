// Package app wires the service together: mounted volumes become a store, a vault, an
// authenticator and a relay, and those become one handler.
//
// An App is made by New, which reads the mounts and reaches for nothing else; Start begins
// what runs beside requests (migrating, watching the mounts, relaying events, clearing
// up); Stop ends it. The handler may be called at any time: until the database answers and is
// migrated, readiness says so and routes answer 503; a probe during the first look at the
// database waits for its outcome. A volume that changes is taken up
// while the service runs; a value that cannot be used is refused and the last good one
// stays.
package app
