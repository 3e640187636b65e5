package chaos_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// clusterSite has three nodes, each with a third of the slots and no replica.
func clusterSite(t *testing.T) *site {
	t.Helper()
	cluster := redistest.StartCluster(t)
	s := &site{t: t, cluster: cluster, nodes: cluster.Nodes}
	var addresses []string
	for _, node := range s.nodes {
		addresses = append(addresses, node.Addr)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addresses, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.redis = client
	s.settle(cluster.URL)
	return s
}

func (s *site) tell(node *redistest.Server, words ...string) {
	s.t.Helper()
	if err := command(raw(s.t, node.URL), words...).Error(); err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
}

// nodeOf is the node that serves a key, by the ranges of the beginning.
func (s *site) nodeOf(key string) (at int, slot string) {
	s.t.Helper()
	n, err := command(raw(s.t, s.nodes[0].URL), "CLUSTER", "KEYSLOT", key).AsInt64()
	if err != nil {
		s.t.Fatal(err)
	}
	for at < 2 && int(n) >= 16384*(at+1)/3 {
		at++
	}
	return at, strconv.FormatInt(n, 10)
}

// moveSlot hands the slot of a key to the next node, with the keys in it, as a slow
// resharding does: for a while the slot is between both.
func (s *site) moveSlot(key string, takes time.Duration) {
	s.t.Helper()
	at, slot := s.nodeOf(key)
	from, to := s.nodes[at], s.nodes[(at+1)%3]
	id := func(node *redistest.Server) string {
		name, err := command(raw(s.t, node.URL), "CLUSTER", "MYID").ToString()
		if err != nil {
			s.t.Fatal(err)
		}
		return name
	}
	s.tell(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
	s.tell(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))
	pause(context.Background(), takes)
	keys, err := command(raw(s.t, from.URL), "CLUSTER", "GETKEYSINSLOT", slot, "1000").AsStrSlice()
	if err != nil {
		s.t.Fatal(err)
	}
	if host, port, _ := net.SplitHostPort(to.Addr); len(keys) > 0 {
		s.tell(from, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)...)
	}
	for _, node := range []*redistest.Server{to, from, s.nodes[(at+2)%3]} {
		s.tell(node, "CLUSTER", "SETSLOT", slot, "NODE", id(to))
	}
}
