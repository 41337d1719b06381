package config

import (
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

const (
	wantCA  = "must be a CA certificate in PEM, the absolute path of a file with one, or the word system"
	maxCert = 1 << 20 // bytes
)

// sslMode defaults to the strictest mode that the mounted files allow for: with a CA, the
// server must be who it says; without one, TLS is used where the server has it.
func (f *pgReader) sslMode(rootCA string) string {
	mode := f.files["PG_SSLMODE"]
	verifies := slices.Contains([]string{"require", "verify-ca", "verify-full"}, mode)
	switch {
	case mode == "" && rootCA != "":
		return "verify-full"
	case mode == "":
		return "prefer"
	case !slices.Contains(sslModes, mode):
		f.fail("PG_SSLMODE", "must be one of "+strings.Join(sslModes, ", "))
	case rootCA != "" && !verifies:
		f.fail("PG_SSLMODE", "must be verify-full, verify-ca or require beside PG_SSLROOTCERT: the other modes check no certificate")
	}
	return mode
}

func (f *pgReader) rootCA(dir string) (file, pem string) {
	written := f.files["PG_SSLROOTCERT"]
	switch {
	case written == "" || written == "system":
		return written, ""
	case strings.HasPrefix(written, "-----BEGIN"):
		if !isCertificate([]byte(written)) {
			f.fail("PG_SSLROOTCERT", wantCA)
		}
		return filepath.Join(dir, "PG_SSLROOTCERT"), written
	}
	if !isCertificateFile(written) {
		f.fail("PG_SSLROOTCERT", wantCA)
	}
	return written, ""
}

func isCertificate(pem []byte) bool { return x509.NewCertPool().AppendCertsFromPEM(pem) }

func isCertificateFile(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || !filepath.IsAbs(path) {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCert))
	return err == nil && isCertificate(content)
}
