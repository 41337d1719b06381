package config

import (
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
)

const (
	wantCA  = "must be a CA certificate in PEM, the absolute path of a file with one, or the word system"
	maxCert = 1 << 20 // bytes
)

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
