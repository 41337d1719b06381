package admin_test

import (
	"testing"

	"aiadmin/test/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
