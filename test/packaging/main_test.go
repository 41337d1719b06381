package packaging_test

import (
	"testing"

	"aiadmin/test/pgtest"
)

// TestMain stops the database that the tests share.
func TestMain(m *testing.M) { pgtest.Main(m) }
