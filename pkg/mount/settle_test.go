package mount

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An editor caught in the middle of its work must not be believed: what the first
// reading saw is taken up only when the second one sees it too.
func TestPlainFolderMustSettle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a")
	put := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("1")
	v, err := Open(filepath.Dir(path), func(files map[string]string) (string, error) { return files["a"], nil })
	if err != nil {
		t.Fatal(err)
	}
	v.sleep = func(time.Duration) { put("2") } // the editor goes on
	put("")                                    // the editor has cut the file off
	if changed, err := v.Refresh(); changed || err != nil || v.Value() != "1" {
		t.Errorf("took up %q (%v, %v) from a file that is still being written", v.Value(), changed, err)
	}
	v.sleep = func(d time.Duration) {
		if d != settleTime {
			t.Errorf("waited %s, want %s", d, settleTime)
		}
	}
	if changed, err := v.Refresh(); !changed || err != nil || v.Value() != "2" {
		t.Errorf("value %q (%v, %v), want 2 once the file stands still", v.Value(), changed, err)
	}
}
