package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// elsewhere holds the data of clusters that root starts in a folder the server cannot enter, such
// as a checkout under /root.
const elsewhere = "/var/lib/ai-admin-dev"

// place returns the folder that holds dir's data. It is dir, if the server's account can
// reach it; otherwise one made for dir under elsewhere, with dir/data as a link to it.
func place(dir string, as account) (string, error) {
	err := as.reach(dir)
	if err == nil {
		return dir, nil
	}
	digest := sha256.Sum256([]byte(dir))
	other := filepath.Join(elsewhere, hex.EncodeToString(digest[:8]))
	link, data := filepath.Join(dir, "data"), filepath.Join(other, "data")
	switch target, linkErr := os.Readlink(link); {
	case linkErr == nil && target == data:
	case errors.Is(linkErr, fs.ErrNotExist):
		// What is there belonged to a dir that has been removed since, password and all.
		takeOver(data)
		if err := errors.Join(os.RemoveAll(other), os.MkdirAll(other, 0o711), os.Symlink(data, link)); err != nil {
			return "", err
		}
	default:
		return "", fmt.Errorf("%s: %w", link, err)
	}
	return other, as.reach(other)
}

const temporaryPrefix = "ai-admin-pg-"

// temporary makes a folder for a throw-away cluster.
func temporary(as account) (string, error) {
	base := os.TempDir()
	if as.reach(base) != nil {
		base = "/tmp"
	}
	sweep(base)
	dir, err := os.MkdirTemp(base, temporaryPrefix)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// sweep removes the throw-away folders of owners that died. Only our own user's are
// touched, and none younger than a minute, which may not have taken its lock yet.
func sweep(base string) {
	found, _ := filepath.Glob(filepath.Join(base, temporaryPrefix+"*"))
	for _, dir := range found {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || !ownedByUs(info) || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := TryLock(filepath.Join(dir, "lock"))
		if err != nil {
			continue
		}
		takeOver(filepath.Join(dir, "data"))
		_ = os.RemoveAll(dir)
		lock.Release()
	}
}
