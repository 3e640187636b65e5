package infra

import (
	"strings"
	"testing"
)

// Debian must take each version for newer than the one above it, or no upgrade comes through.
func TestDebianVersionsGrow(t *testing.T) {
	var before string
	for _, row := range []struct{ described, commits, want string }{
		{"db880b4", "881", "0~881.gdb880b4"},
		{"0a1b2c3", "1000", "0~1000.g0a1b2c3"},
		{"v0.1.0-rc.1", "1001", "0.1.0~rc.1"},
		{"v0.1.0-rc.1-4-g0a1b2c3", "1005", "0.1.0~rc.1+4.g0a1b2c3"},
		{"v0.1.0-rc.2", "1006", "0.1.0~rc.2"},
		{"v0.1.0", "1007", "0.1.0"},
		{"v0.1.0-9-gdb880b4", "1016", "0.1.0+9.gdb880b4"},
		{"v0.1.0-10-g0a1b2c3", "1017", "0.1.0+10.g0a1b2c3"},
		{"v0.1.1", "1018", "0.1.1"},
	} {
		got := strings.TrimSpace(run(t, ".", nil, "../tools/debian-version.sh", row.described, row.commits))
		if got != row.want {
			t.Errorf("%s is version %s, want %s", row.described, got, row.want)
		}
		if _, err := attempt(".", nil, "dpkg", "--compare-versions", got, "gt-nl", before); err != nil && before != "" {
			t.Errorf("%s is no newer than %s", got, before)
		}
		before = got
	}
}
