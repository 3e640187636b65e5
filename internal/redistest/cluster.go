package redistest

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// slots is how many slots the keys of a cluster are spread over.
const slots = 16384

// Cluster is one of three nodes without replicas: each serves a third of the slots, in the
// order of the nodes.
type Cluster struct {
	Nodes []*Server
	URL   string // names all of them
}

// StartCluster runs three servers as a cluster, whose acknowledged writes survive Kill.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := new(Cluster)
	query := url.Values{}
	for range 3 {
		_, port, _ := net.SplitHostPort(freeport.Must(t))
		node := Start(t, append(AOF(), "--cluster-enabled", "yes", "--cluster-port", port, "--cluster-announce-ip", "127.0.0.1",
			"--cluster-require-full-coverage", "no", "--cluster-node-timeout", "2000")...)
		c.Nodes = append(c.Nodes, node)
		query.Add("addr", node.Addr)
	}
	query["addr"] = query["addr"][1:]
	c.URL = "redis://" + c.Nodes[0].Addr + "?" + query.Encode()
	c.join()
	return c
}

// join makes one cluster of the nodes.
func (c *Cluster) join() {
	for i, node := range c.Nodes {
		first, last := slots*i/len(c.Nodes), slots*(i+1)/len(c.Nodes)-1
		node.must("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last))
		node.must("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, other := range c.Nodes[1:] {
		host, port, _ := net.SplitHostPort(other.Addr)
		bus, err := other.ask("CONFIG", "GET", "cluster-port").AsStrMap()
		if err != nil {
			other.t.Fatalf("port of the cluster's bus: %v", err)
		}
		c.Nodes[0].must("CLUSTER", "MEET", host, port, bus["cluster-port"])
	}
	c.Await()
}

// Await waits until each node says that all slots are served.
func (c *Cluster) Await() {
	for _, node := range c.Nodes {
		poll := time.NewTicker(10 * time.Millisecond)
		for deadline := time.Now().Add(startTimeout); !node.servesAll(); <-poll.C {
			if time.Now().After(deadline) {
				node.t.Fatalf("the nodes are no cluster after %s", startTimeout)
			}
		}
		poll.Stop()
	}
}

func (s *Server) servesAll() bool {
	info, err := s.ask("CLUSTER", "INFO").ToString()
	return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:"+strconv.Itoa(slots))
}

func (s *Server) must(words ...string) {
	s.t.Helper()
	if err := s.ask(words...).Error(); err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
}

// ask asks this node and no other, on a connection of its own.
func (s *Server) ask(words ...string) rueidis.RedisResult {
	s.t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr}, ForceSingleClient: true, DisableCache: true,
	})
	if err != nil {
		s.t.Fatalf("connect to %s: %v", s.Addr, err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary(words...).Build())
}
