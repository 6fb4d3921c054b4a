package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/egress"
)

// names answers each look-up of a name with the next list of addresses.
type names struct {
	answers [][]string
	asked   int
	family  string
}

func (n *names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	n.family = network
	if n.asked >= len(n.answers) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var addrs []netip.Addr
	for _, text := range n.answers[n.asked] {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	n.asked++
	return addrs, nil
}

var errDead = errors.New("connection refused")

// recorder notes what is dialled and connects to the addresses in alive.
type recorder struct {
	dialled []string
	alive   []string
	silent  bool // what is not alive never answers
}

func (r *recorder) dial(ctx context.Context, _, address string) (net.Conn, error) {
	r.dialled = append(r.dialled, address)
	if slices.Contains(r.alive, address) {
		client, server := net.Pipe()
		_ = server.Close()
		return client, nil
	}
	if r.silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errDead
}

func newDialer(t *testing.T, cfg egress.Config) *egress.Dialer {
	t.Helper()
	d, err := egress.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func networks(t *testing.T, text string) []netip.Prefix {
	t.Helper()
	p, err := egress.ParseNetworks(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRebinding(t *testing.T) {
	// The second answer would be private; it is never asked for.
	resolver := &names{answers: [][]string{{"93.184.216.34"}, {"127.0.0.1"}}}
	rec := &recorder{alive: []string{"93.184.216.34:25"}}
	conn, err := newDialer(t, egress.Config{Resolver: resolver, Dial: rec.dial}).DialContext(t.Context(), "tcp", "relay.example.com:25")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if resolver.asked != 1 || !slices.Equal(rec.dialled, []string{"93.184.216.34:25"}) {
		t.Errorf("asked %d times, dialled %q", resolver.asked, rec.dialled)
	}
}

func TestSeveralAddresses(t *testing.T) {
	tests := []struct {
		name    string
		answer  []string
		alive   string
		dialled string
		refused bool
	}{
		{name: "in order", answer: []string{"93.184.216.34", "93.184.216.35"}, alive: "93.184.216.34:25", dialled: "93.184.216.34:25"},
		{name: "next after a dead one", answer: []string{"93.184.216.34", "2606:2800:220:1::1"}, alive: "[2606:2800:220:1::1]:25", dialled: "93.184.216.34:25 [2606:2800:220:1::1]:25"},
		{name: "forbidden ones are left out", answer: []string{"10.0.0.1", "::1", "93.184.216.34"}, alive: "93.184.216.34:25", dialled: "93.184.216.34:25"},
		{name: "mapped ones are unwrapped", answer: []string{"::ffff:93.184.216.34"}, alive: "93.184.216.34:25", dialled: "93.184.216.34:25"},
		{name: "none is allowed", answer: []string{"10.0.0.1", "fd00::1"}, refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := &recorder{alive: []string{tt.alive}}
			d := newDialer(t, egress.Config{Resolver: &names{answers: [][]string{tt.answer}}, Dial: rec.dial})
			conn, err := d.DialContext(t.Context(), "tcp", "relay.example.com:25")
			if tt.refused {
				if _, ok := errors.AsType[*egress.RefusedError](err); !ok {
					t.Fatalf("error %v, want a refusal", err)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				_ = conn.Close()
			}
			if got := strings.Join(rec.dialled, " "); got != tt.dialled {
				t.Errorf("dialled %q, want %q", got, tt.dialled)
			}
		})
	}
}

func TestNotMoreThanEight(t *testing.T) {
	var many []string
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{93, 184, 216, byte(i)}).String())
	}
	rec := &recorder{}
	_, err := newDialer(t, egress.Config{Resolver: &names{answers: [][]string{many}}, Dial: rec.dial}).DialContext(t.Context(), "tcp", "many.example:25")
	if !errors.Is(err, errDead) || len(rec.dialled) != 8 {
		t.Errorf("%d dialled, error %v", len(rec.dialled), err)
	}
}

func TestADeadAddressLeavesTimeForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := &recorder{alive: []string{"93.184.216.36:25"}, silent: true}
		resolver := &names{answers: [][]string{{"93.184.216.34", "93.184.216.35", "93.184.216.36"}}}
		d := newDialer(t, egress.Config{Resolver: resolver, Dial: rec.dial, Timeout: 30 * time.Second})
		begun := time.Now()
		conn, err := d.DialContext(t.Context(), "tcp", "relay.example.com:25")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if took := time.Since(begun); took != 20*time.Second {
			t.Errorf("took %v, want a third of 30 s for each of the dead", took)
		}
	})
}

func TestTheContextEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		rec := &recorder{silent: true}
		d := newDialer(t, egress.Config{Resolver: &names{answers: [][]string{{"93.184.216.34", "93.184.216.35"}}}, Dial: rec.dial})
		if _, err := d.DialContext(ctx, "tcp", "relay.example.com:25"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if len(rec.dialled) != 1 {
			t.Errorf("dialled %q after the end", rec.dialled)
		}
	})
}

func TestPortsAndNetworkNames(t *testing.T) {
	rec := &recorder{alive: []string{"93.184.216.34:587", "93.184.216.34:6379"}}
	d := newDialer(t, egress.Config{Ports: egress.RelayPorts(), Dial: rec.dial})
	tests := []struct {
		network, address, want string
	}{
		{"tcp", "93.184.216.34:587", ""},
		{"tcp", "93.184.216.34:6379", "egress: 93.184.216.34:6379 is not dialled: this port is not one for relays; the operator can allow it with POSTRIDER_EGRESS_PORTS=6379"},
		{"tcp", "93.184.216.34:smtp", `egress: port "smtp" of "93.184.216.34" is no number from 1 to 65535`},
		{"tcp", "93.184.216.34:65561", `egress: port "65561" of "93.184.216.34" is no number from 1 to 65535`},
		{"tcp", "93.184.216.34", `egress: "93.184.216.34" is no host:port: address 93.184.216.34: missing port in address`},
		{"udp", "93.184.216.34:587", `egress: network "udp": only tcp, tcp4 and tcp6 are dialled`},
		{"unix", "/run/docker.sock", `egress: network "unix": only tcp, tcp4 and tcp6 are dialled`},
	}
	for _, tt := range tests {
		got := ""
		conn, err := d.DialContext(t.Context(), tt.network, tt.address)
		if err != nil {
			got = err.Error()
		} else {
			_ = conn.Close()
		}
		if got != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.network, tt.address, got, tt.want)
		}
	}
}

func TestRefusal(t *testing.T) {
	d := newDialer(t, egress.Config{Resolver: &names{answers: [][]string{{"10.1.2.3"}}}})
	_, err := d.DialContext(t.Context(), "tcp", "intern.example.com:25")
	refused, ok := errors.AsType[*egress.RefusedError](err)
	if !ok || refused.Host != "intern.example.com" || refused.Addr != netip.MustParseAddr("10.1.2.3") || refused.Port != 25 || refused.Setting != egress.SettingAllow {
		t.Fatalf("%#v", err)
	}
	want := "egress: intern.example.com:25 (10.1.2.3) is not dialled: 10.0.0.0/8 is private (RFC 1918); the operator can allow it with POSTRIDER_EGRESS_ALLOW=10.1.2.3"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestFamilies(t *testing.T) {
	for network, family := range map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"} {
		resolver := &names{}
		_, err := newDialer(t, egress.Config{Resolver: resolver}).DialContext(t.Context(), network, "gone.example:25")
		if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound || resolver.family != family {
			t.Errorf("%s: asked for %q, error %v", network, resolver.family, err)
		}
	}
	empty := &names{answers: [][]string{{}}}
	_, err := newDialer(t, egress.Config{Resolver: empty}).DialContext(t.Context(), "tcp", "empty.example:25")
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
		t.Errorf("a name without addresses: %v", err)
	}
}

func TestRealConnection(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := newDialer(t, egress.Config{}).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Fatal("loopback was dialled")
	}
	// The system's own resolver knows localhost.
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		conn, err := newDialer(t, egress.Config{Allow: networks(t, "127.0.0.0/8,::1")}).DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		_ = conn.Close()
	}
}

func TestNewNamesEveryFault(t *testing.T) {
	_, err := egress.New(egress.Config{Allow: []netip.Prefix{{}, netip.MustParsePrefix("::ffff:0:0/90")}, Ports: []int{0, 25, 70000}, Timeout: -1})
	want := "egress: Allow: \"invalid Prefix\" is no network\n" +
		"egress: Allow: \"::ffff:0.0.0.0/90\" is cut in the middle of IPv4-mapped addresses; write the IPv4 network\n" +
		"egress: Ports: 0 is no port: 1 to 65535\negress: Ports: 70000 is no port: 1 to 65535\n" +
		"egress: Timeout: -1ns is negative; 0 means 30s"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
