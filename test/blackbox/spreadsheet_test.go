package blackbox

import (
	"bytes"
	"encoding/csv"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestASpreadsheetOpensTheExport has LibreOffice open an export and write it again: each user is one row, each value
// is in its cell.
func TestASpreadsheetOpensTheExport(t *testing.T) {
	t.Parallel()
	office, err := exec.LookPath("soffice")
	if err != nil {
		t.Skip("needs LibreOffice: apt-get install libreoffice-calc-nogui")
	}
	s := serve(t, database(t))
	for _, body := range append(tricky,
		`{"tag":"last","name":"Παππάς, \"小龍\"; Ünal","email":"ada+ai@example.com","models":["gpt-5*","o3"],"metadata":{"team":"R&D\n2nd line","n":1.50}}`) {
		s.post(t, body)
	}
	exported := s.fetch(t, usersPath+"?sort=tag", "Accept", csvs)
	exported.is(t, http.StatusOK)
	rows := cellsOf(t, exported.body)
	if len(rows) != 1+len(tricky)+1 {
		t.Fatalf("%d rows were exported", len(rows))
	}
	if diff := cmp.Diff(rows, cellsOf(t, openedBy(t, office, exported.body))); diff != "" {
		t.Errorf("(-exported +opened):\n%s", diff)
	}
}

// openedBy has a spreadsheet program open a CSV file in UTF-8, take every cell as text, and write it.
func openedBy(t *testing.T, office string, content []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "users.csv")
	must(t, os.WriteFile(file, content, 0o600))
	const comma, quote, utf8, asText = "44", "34", "76", "true"
	options := strings.Join([]string{comma, quote, utf8, "1", "", "0", asText}, ",")
	command := exec.CommandContext(t.Context(), office, "--headless", "-env:UserInstallation=file://"+dir+"/profile",
		"--infilter=CSV:"+options, "--convert-to", "csv:Text - txt - csv (StarCalc):"+options, "--outdir", dir+"/opened", file)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	opened, err := os.ReadFile(filepath.Join(dir, "opened", "users.csv")) //nolint:gosec // of this test
	must(t, err)
	return opened
}

// cellsOf reads CSV. Line breaks inside a cell count as one kind: a spreadsheet has no other.
func cellsOf(t *testing.T, content []byte) [][]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	must(t, err)
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "\r", "\n")
		}
	}
	return rows
}
