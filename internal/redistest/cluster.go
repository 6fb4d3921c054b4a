package redistest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
)

// slots is the number of hash slots of a Redis cluster.
const slots = 16384

// StartCluster starts a cluster of n servers without replicas that share the slots evenly,
// and waits until each sees all slots served.
func StartCluster(t testing.TB, n int) []*Server {
	t.Helper()
	nodes := make([]*Server, n)
	for i := range nodes {
		addr, port, bus := clusterPorts(t)
		nodes[i] = start(t, serverDir(t), "tcp", addr, []string{
			"--port", port, "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", bus,
		})
	}
	must := func(s *Server, words ...string) {
		t.Helper()
		if _, err := s.Do(words...); err != nil {
			t.Fatalf("redistest: %s: %v", strings.Join(words, " "), err)
		}
	}
	for i, s := range nodes {
		must(s, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*slots/n), fmt.Sprint((i+1)*slots/n-1))
		must(s, "CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
	}
	for _, s := range nodes[1:] {
		host, port, _ := net.SplitHostPort(s.Addr)
		bus := s.argument("--cluster-port")
		must(nodes[0], "CLUSTER", "MEET", host, port, bus)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for _, s := range nodes {
		for {
			info, err := s.Do("CLUSTER", "INFO")
			if err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n)) {
				break
			}
			if !pause(ctx) {
				t.Fatalf("redistest: the cluster is not ready: %v\n%s\n%s", err, info, s.Log())
			}
		}
	}
	return nodes
}

// argument is the value of a command line argument.
func (s *Server) argument(name string) string {
	for i, a := range s.argv[:len(s.argv)-1] {
		if a == name {
			return s.argv[i+1]
		}
	}
	return ""
}

// clusterPorts returns an address and the ports for clients and for the cluster's bus. They
// lie below the range from which the system takes client ports, so that a server which
// restarts finds its port free again.
func clusterPorts(t testing.TB) (addr, port, bus string) {
	t.Helper()
	const low, high = 20000, 32768
	var found []string
	for range 1000 {
		p := fmt.Sprint(low + rand.IntN(high-low))
		l, err := net.Listen("tcp", "127.0.0.1:"+p)
		if err != nil {
			continue
		}
		// Kept open until both are found, so that none is found twice.
		defer l.Close()
		if found = append(found, p); len(found) == 2 {
			return "127.0.0.1:" + found[0], found[0], found[1]
		}
	}
	t.Fatal("redistest: no free ports on 127.0.0.1")
	return "", "", ""
}
