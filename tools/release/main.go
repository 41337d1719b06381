// Command release writes what is published of a version into a folder: an archive with a static binary for
// each system, a list of what they are made of (CycloneDX), the image's OCI layout, and the checksums of
// all. The same source makes the same bytes, on any machine and from any folder.
//
//	make release VERSION=v1.2.0
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// beside are the files that each archive has besides the binary.
var beside = []string{"README.md", "LICENSE", "CHANGELOG.md"}

func main() {
	version := flag.String("version", "dev", "the version's name")
	out := flag.String("out", "dist/release", "the folder to write to; emptied first")
	systems := flag.String("systems", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "what to build for")
	image := flag.Bool("image", true, "write the image's OCI layout, for which ko's base image has to be had")
	flag.Parse()
	if err := release(*version, *out, strings.Split(*systems, ","), *image); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release(version, out string, systems []string, image bool) error {
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o755)); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "ai-admin-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	for _, system := range systems {
		name := "ai-admin_" + version + "_" + strings.ReplaceAll(system, "/", "_")
		if err := archiveBinary(version, system, filepath.Join(work, name), filepath.Join(out, name+".tar.gz")); err != nil {
			return fmt.Errorf("%s: %w", system, err)
		}
	}
	bill := filepath.Join(out, "ai-admin_"+version+"_sbom.cdx.json")
	first := filepath.Join(work, "ai-admin_"+version+"_"+strings.ReplaceAll(systems[0], "/", "_"), "ai-admin")
	if err := command(nil, "go", "tool", "-modfile=tools/release/go.mod", "cyclonedx-gomod", "bin", "-json", "-noserial", "-notimestamp",
		"-version", version, "-output", bill, first); err != nil {
		return fmt.Errorf("the list of what it is made of: %w", err)
	}
	if image {
		if err := command([]string{"VERSION=" + version, "KO_DOCKER_REPO="}, "make", "--silent", "image", "DIST="+work); err != nil {
			return fmt.Errorf("the image (its base is named in ko.yaml; KO_DEFAULTBASEIMAGE names another, -image=false leaves it out): %w", err)
		}
		if err := archive(filepath.Join(work, "image"), filepath.Join(out, "ai-admin_"+version+"_oci.tar.gz"), "image"); err != nil {
			return err
		}
	}
	return checksums(out)
}

// archiveBinary builds for one system and packs what a user gets.
func archiveBinary(version, system, dir, file string) error {
	kernel, processor, _ := strings.Cut(system, "/")
	err := command([]string{"GOOS=" + kernel, "GOARCH=" + processor, "CGO_ENABLED=0", "GOFLAGS=", "GOAMD64=v1"}, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+version, "-o", filepath.Join(dir, "ai-admin"), "./cmd/ai-admin")
	if err != nil {
		return err
	}
	for _, name := range beside {
		text, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return archive(dir, file, filepath.Base(dir))
}

// archive packs a folder under a name, in the order of names, with no time, owner or mode of this machine.
func archive(dir, file, name string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	zipped, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	packed := tar.NewWriter(zipped)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(filepath.Join(name, below)), Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(0, 0)}
		if entry.Name() == "ai-admin" {
			header.Mode = 0o755
		}
		if err := packed.WriteHeader(header); err != nil {
			return err
		}
		_, err = packed.Write(text)
		return err
	})
	return errors.Join(err, packed.Close(), zipped.Close())
}

// checksums writes what sha256sum -c reads.
func checksums(out string) error {
	files, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	var list []byte
	for _, f := range files {
		sum, err := digest(filepath.Join(out, f.Name()))
		if err != nil {
			return err
		}
		list = fmt.Appendf(list, "%x  %s\n", sum, f.Name())
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), list, 0o644)
}

func digest(file string) ([]byte, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, in)
	return sum.Sum(nil), err
}

func command(environment []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}
