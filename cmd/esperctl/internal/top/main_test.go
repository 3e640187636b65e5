package top

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // golden views have times of day
	goleak.VerifyTestMain(m)
}
