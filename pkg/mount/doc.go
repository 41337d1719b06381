// Package mount reads mounted folders (a file per key, as Kubernetes mounts Secrets and
// ConfigMaps), keeps the last good value of each, and takes up changes without a restart.
//
// # States
//
// A [Volume] is healthy (its value is what the folder says) or stale (the folder's
// content was refused; the last good value is in use and [Volume.Err] says why). Open
// makes a healthy one or none at all; Refresh moves between the two. A missing folder is
// an empty one, so the parse function decides whether the volume is optional; but a
// folder that was there and is gone makes the volume stale.
//
// # Who may do what
//
// Any goroutine may call Value and Err at any time: they take no lock. Refresh may be
// called from anywhere and runs one at a time per volume; [Watch] calls it each second.
// OnChange functions run inside Refresh, in the order they were added, after Value
// already gives the new value; they must not call Refresh or OnChange.
//
// # On failure
//
// A value that cannot be read or parsed is refused whole: nothing of it is used. Refresh reports
// refused content once, not each second. A partial change is never used. With Kubernetes' "..data"
// link, all files are read from the generation that it points to, and read again if the link moved
// meanwhile. Any other change (a plain folder, a file edited in place, a plain file laid over a
// link) counts once two readings, 20 ms apart, agree. Errors name files and what is expected there,
// never their content.
package mount
