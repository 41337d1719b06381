package eventapi_test

import (
	"testing"

	"aiadmin/pkg/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
