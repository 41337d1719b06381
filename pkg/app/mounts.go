package app

import (
	"errors"
	"io"
	"log/slog"
	"path/filepath"

	"aiadmin/pkg/admin"
	"aiadmin/pkg/auth"
	"aiadmin/pkg/config"
	"aiadmin/pkg/mount"
	"aiadmin/pkg/store"
	"aiadmin/pkg/vault"
)

// defaultMounts is the folder that the volumes are mounted under.
const defaultMounts = "/etc/ai-admin"

// Mounts are the service's volumes, each with its last good value.
type Mounts struct {
	Config   *mount.Volume[config.Config]
	Postgres *mount.Volume[config.Postgres]
	Vault    *mount.Volume[*vault.KeyRing]
	Auth     *mount.Volume[[]auth.Token]
}

// MountError is all that is wrong with the mounts: a line per problem, each naming the
// file and what is expected there.
type MountError struct{ error }

// openMounts reads the volumes under root. Its error is a [MountError].
func openMounts(root string) (*Mounts, error) {
	var m Mounts
	var problems [4]error
	m.Config, problems[0] = mount.Open(filepath.Join(root, "config"), config.Parse)
	m.Postgres, problems[1] = openPostgres(root)
	m.Vault, problems[2] = mount.Open(filepath.Join(root, "vault"), vault.ParseKeyRing)
	needed := problems[0] == nil && m.Config.Value().Auth == config.AuthRequired && len(m.Config.Value().OIDC) == 0
	m.Auth, problems[3] = mount.Open(filepath.Join(root, "auth"), tokens(needed))
	if err := errors.Join(problems[:]...); err != nil {
		return nil, MountError{err}
	}
	return &m, nil
}

// tokens reads the auth volume. Where tokens are the only way in, none at all is refused,
// at the start and as a change: nobody could use the service.
func tokens(needed bool) func(map[string]string) ([]auth.Token, error) {
	return func(files map[string]string) ([]auth.Token, error) {
		list, err := config.ParseTokens(files)
		if err == nil && needed && len(list) == 0 {
			err = errors.New(config.TokensFile + ": must hold at least one token (ai-admin token makes one), unless config.yaml has oidc or auth: disabled")
		}
		return list, err
	}
}

func (m *Mounts) volumes() []mount.AnyVolume {
	return []mount.AnyVolume{m.Config, m.Postgres, m.Vault, m.Auth}
}

// refused is the first problem with what is mounted at present, nil when all is in use.
func (m *Mounts) refused() error {
	return errors.Join(m.Config.Err(), m.Postgres.Err(), m.Vault.Err(), m.Auth.Err())
}

// unreadable is why the secrets cannot be read at present. A content that can be read and
// is refused is none: the last good one serves as well as it did.
func (m *Mounts) unreadable() error {
	return errors.Join(m.Postgres.Unreadable(), m.Vault.Unreadable(), m.Auth.Unreadable())
}

func openPostgres(root string) (*mount.Volume[config.Postgres], error) {
	dir := filepath.Join(root, "postgres")
	return mount.Open(dir, config.ParsePostgres(dir))
}

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
