package oona_test

import (
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

func TestBusThatTakesNoWritesIsFoundAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, says string
		spoil      func(server *redistest.Server)
	}{
		{"sound", "", func(*redistest.Server) {}},
		{"may not write there", "", func(server *redistest.Server) {
			tell(t, server, "ACL", "SETUSER", "default", "-xadd", "-type") // whether it needs to, others know
		}},
		{"replica", "READONLY", func(server *redistest.Server) {
			tell(t, server, "REPLICAOF", "127.0.0.1", "1") // nobody is there, so it keeps what it has
		}},
		{"out of memory", "OOM", func(server *redistest.Server) { tell(t, server, "CONFIG", "SET", "maxmemory", "1") }},
		{"too few replicas", "NOREPLICAS", func(server *redistest.Server) {
			tell(t, server, "CONFIG", "SET", "min-replicas-to-write", "1")
		}},
		{"another type", "oona.taken", func(server *redistest.Server) { tell(t, server, "SET", "oona.taken", "text") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			peer := connect(t, server.URL, nil)
			if err := peer.EnsureGroups(t.Context(), "g", "oona.there"); err != nil {
				t.Fatal(err)
			}
			test.spoil(server)
			c := connect(t, server.URL, nil)
			err := c.Admin().Writable(t.Context(), "oona.missing", "oona.there", "oona.taken")
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("Writable = %v, want %q", err, test.says)
			}
			if n := count(t, server, "EXISTS", "oona.missing"); n != 0 {
				t.Error("the question made a stream")
			}
			if n := count(t, server, "XLEN", "oona.there"); n != 0 {
				t.Errorf("the question left %d entries", n)
			}
		})
	}
}

func count(t *testing.T, server *redistest.Server, words ...string) int64 {
	t.Helper()
	raw := rawClient(t, server.URL)
	n, err := raw.Do(t.Context(), raw.B().Arbitrary(words...).Build()).AsInt64()
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return n
}

func TestBusThatIsGoneIsNotWritable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := connect(t, server.URL, hasty)
	server.Kill()
	if err := c.Admin().Writable(t.Context(), "oona.normal"); err == nil {
		t.Error("a server that is gone takes writes")
	}
}
