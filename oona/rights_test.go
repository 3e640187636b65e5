package oona_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/oona"
)

// commandsOf are the commands that a server was given, whether or not it took them,
// subcommands as name|sub.
func commandsOf(t *testing.T, server *redistest.Server) []string {
	t.Helper()
	raw := rawClient(t, server.URL)
	info, err := raw.Do(t.Context(), raw.B().Arbitrary("INFO", "commandstats").Build()).ToString()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(info) {
		if name, found := strings.CutPrefix(line, "cmdstat_"); found {
			name, _, _ = strings.Cut(name, ":")
			names = append(names, name)
		}
	}
	return names
}

func checkRights(t *testing.T, url string) error {
	t.Helper()
	return connect(t, url, nil).CheckRights(t.Context(), "kasmina", "tamiyo")
}

// What is asked for suffices the documented user, and each word of it is missed.
func TestR31R35EachRightIsAskedFor(t *testing.T) {
	t.Parallel()
	server, url := withUser(t, "service")
	keys := func() int64 { return count(t, server, "DBSIZE") }
	if err := connect(t, server.URL, nil).EnsureGroups(t.Context(), "g", oona.DefaultStreams().Names()...); err != nil {
		t.Fatal(err)
	}
	before := keys()
	if err := checkRights(t, url); err != nil {
		t.Errorf("the documented user: %v", err)
	}
	if after := keys(); after != before {
		t.Errorf("%d keys before the question, %d after it", before, after)
	}
	var asked []string
	for _, name := range commandsOf(t, server) {
		switch name {
		case "hello", "command", "info", "dbsize", "acl|setuser", "client|setinfo", "client|setname", "client|tracking": // the tests', or the library's
		default:
			asked = append(asked, name)
		}
	}
	if len(asked) < 35 {
		t.Errorf("asked for %v", asked)
	}
	for _, name := range asked {
		if name == "ping" { // without which nobody connects
			continue
		}
		tell(t, server, "ACL", "SETUSER", "service", "-"+name)
		err := checkRights(t, url)
		if err == nil || !strings.Contains(err.Error(), strings.ToUpper(strings.Replace(name, "|", " ", 1))) {
			t.Errorf("without %s: %v", name, err)
		}
		tell(t, server, "ACL", "SETUSER", "service", "+"+name)
	}
	for _, pattern := range []string{"~oona.*", "~oona:*", "~weatherlight:*"} {
		others := slices.DeleteFunc([]string{"~oona.*", "~oona:*", "~weatherlight:*"}, func(p string) bool { return p == pattern })
		tell(t, server, append([]string{"ACL", "SETUSER", "service", "resetkeys"}, others...)...)
		if err := checkRights(t, url); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("without %s: %v", pattern, err)
		}
	}
}

// What lies under a key of ours and is of another type makes each command on it fail.
func TestR31KeyOfAnotherTypeIsFound(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, key := range []string{
		"oona.normal", "oona.deadletter", "oona.deadletter:replayed", "oona:members:g", "oona:losses:{oona.normal}", "weatherlight:tamiyo:due",
	} {
		tell(t, server, "SETBIT", key, "1", "1")
		if err := checkRights(t, server.URL); err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("%s: %v", key, err)
		}
		tell(t, server, "DEL", key)
	}
	if err := checkRights(t, server.URL); err != nil {
		t.Error(err)
	}
}

// On a cluster of several nodes the question goes to more than one.
func TestR35RightsAreAskedForOnACluster(t *testing.T) {
	t.Parallel()
	nodes := threeNodes(t)
	if err := connect(t, nodes.url(), nil).CheckRights(t.Context(), "kasmina", "tamiyo"); err != nil {
		t.Error(err)
	}
	tell(t, nodes[0], "ACL", "SETUSER", "default", "-xack")
	tell(t, nodes[1], "ACL", "SETUSER", "default", "-xack")
	tell(t, nodes[2], "ACL", "SETUSER", "default", "-xack")
	if err := connect(t, nodes.url(), nil).CheckRights(t.Context(), "kasmina", "tamiyo"); err == nil || !strings.Contains(err.Error(), "XACK") {
		t.Errorf("without a right: %v", err)
	}
}
