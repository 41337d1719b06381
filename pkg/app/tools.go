package app

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/config"
	"aiadmin/pkg/mount"
	"aiadmin/pkg/store"
	"aiadmin/pkg/vault"
)

// toolConnections is enough for a command that runs beside the service.
const toolConnections = 4

// OpenStore opens the database that the postgres volume under root names, for commands
// that need nothing else. Wrong mounts are a [MountError].
func OpenStore(root string) (*store.Store, error) {
	volume, err := openPostgres(root)
	if err != nil {
		return nil, MountError{err}
	}
	return openStore(volume)
}

func openStore(volume *mount.Volume[config.Postgres]) (*store.Store, error) {
	return store.Open(store.Options{ConnString: volume.Value().ConnString().Reveal(), MaxConnections: toolConnections})
}

// OpenAdmin opens the service's logic for a command, with its log going to w; closing it
// is the caller's. Wrong mounts are a [MountError], of all that is wrong with either volume.
func OpenAdmin(root string, w io.Writer) (service *admin.Service, closeStore func(), err error) {
	volume, postgresErr := openPostgres(root)
	keys, vaultErr := mount.Open(filepath.Join(root, "vault"), vault.ParseKeyRing)
	if err := errors.Join(postgresErr, vaultErr); err != nil {
		return nil, nil, MountError{err}
	}
	db, err := openStore(volume)
	if err != nil {
		return nil, nil, err
	}
	service = admin.New(db, keys.Value(), admin.Retention{}, admin.Options{Log: slog.New(slog.NewTextHandler(w, nil))})
	return service, func() { _ = db.Close() }, nil
}
