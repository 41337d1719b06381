package eventapi

import "aiadmin/pkg/body"

// ofBatch are the limits of batches. Each waits for room before it is read, so that those
// waiting need no memory: at work, it takes a dozen times its size.
var ofBatch = body.Limits{Most: 8 << 20, Least: 128 << 10, Room: 8 << 20}
