package app

import (
	"aiadmin/pkg/store"
)

// OpenStore opens the database that the postgres volume under root names, for commands
// that need nothing else. Wrong mounts are a [MountError].
func OpenStore(root string) (*store.Store, error) {
	volume, err := openPostgres(root)
	if err != nil {
		return nil, MountError{err}
	}
	return store.Open(store.Options{ConnString: volume.Value().ConnString().Reveal(), MaxConnections: 4})
}
