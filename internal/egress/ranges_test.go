package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/postrider/postrider/internal/egress"
)

// refusal gives the reason for which addr is refused; "": it is dialled.
func refusal(t testing.TB, d *egress.Dialer, addr string) string {
	conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(addr, "25"))
	if err == nil {
		_ = conn.Close()
		return ""
	}
	refused, ok := errors.AsType[*egress.RefusedError](err)
	if !ok {
		t.Fatalf("%s: %v", addr, err)
	}
	return refused.Reason
}

func pipe(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	_ = server.Close()
	return client, nil
}

func TestSpecialRanges(t *testing.T) {
	tests := []struct {
		name  string
		addrs string // all of them refused
		why   string
	}{
		{"this network", "0.0.0.0 0.1.2.3 0.255.255.255", "unspecified"},
		{"private 10", "10.0.0.0 10.255.255.255", "private"},
		{"carrier-grade NAT", "100.64.0.0 100.127.255.255", "carrier-grade NAT"},
		{"loopback", "127.0.0.1 127.0.0.53 127.255.255.255", "loopback"},
		{"link-local", "169.254.0.1 169.254.255.255", "link-local"},
		{"metadata", "169.254.169.254 168.63.129.16 100.100.100.200 fd00:ec2::254 fd20:ce::254", "cloud"},
		{"private 172.16", "172.16.0.0 172.31.255.255", "private"},
		{"protocol assignments", "192.0.0.0 192.0.0.192 192.0.0.255 2001:1::1 2001:20::1 2001:1ff:ffff::1", "protocol assignments"},
		{"documentation", "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1 3fff:fff:ffff::1", "documentation"},
		{"6to4 relay", "192.88.99.1", "6to4"},
		{"private 192.168", "192.168.0.0 192.168.255.255", "private"},
		{"benchmark", "198.18.0.0 198.19.255.255", "benchmarks"},
		{"multicast", "224.0.0.1 239.255.255.255 ff02::1 ff0e::1", "multicast"},
		{"reserved", "240.0.0.0 255.255.255.254", "reserved"},
		{"broadcast", "255.255.255.255", "broadcast"},
		{"unspecified 6", "::", "unspecified"},
		{"loopback 6", "::1", "loopback"},
		{"unique local", "fc00::1 fd12:3456::1 fdff::1", "private (RFC 4193)"},
		{"link-local 6", "fe80::1 febf::1 fe80::1%eth0", "link-local"},
		{"site-local", "fec0::1 feff::1", "site-local"},
		{"not global unicast", "100::1 5f00::1 4000::1 e000::1 1fff::1 ::ffff:0:10.0.0.1 64:ff9b:2::1 0:1::", "not global unicast"},
		{"local NAT64", "64:ff9b:1::8.8.8.8 64:ff9b:1:a00:0:100::", "local translation"},
		{"mapped", "::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0", " is "},
		{"compatible", "::10.0.0.1 ::127.0.0.1 ::169.254.169.254 ::2", "it hides "},
		{"NAT64", "64:ff9b::10.0.0.1 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b::", "it hides "},
		{"6to4", "2002:a00:1:: 2002:7f00:1::1 2002:a9fe:a9fe::1 2002:c0a8:101::", "it hides "},
		{"Teredo client", "2001::5db8:d822:0:0:80ff:fffe", "it hides 127.0.0.1"}, // server 93.184.216.34
		{"Teredo server", "2001:0:a00:1::f7f7:f7f7", "it hides 10.0.0.1"},
	}
	d := newDialer(t, egress.Config{Dial: pipe})
	open := newDialer(t, egress.Config{Dial: pipe, Allow: networks(t, "0.0.0.0/0 ::/0")})
	for _, tt := range tests {
		for addr := range strings.FieldsSeq(tt.addrs) {
			switch why := refusal(t, d, addr); {
			case why == "":
				t.Errorf("%s: %s is dialled", tt.name, addr)
			case !strings.Contains(why, tt.why):
				t.Errorf("%s: %s: %q does not say %q", tt.name, addr, why, tt.why)
			}
			if why := refusal(t, open, addr); why != "" {
				t.Errorf("%s: %s: all networks are allowed, and still: %s", tt.name, addr, why)
			}
		}
	}
}

func TestPublicAddresses(t *testing.T) {
	d := newDialer(t, egress.Config{Dial: pipe})
	for addr := range strings.FieldsSeq(`1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
		169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255
		198.20.0.0 223.255.255.255 2606:4700:4700::1111 2a00:1450:4001::5e 2001:200::1 2001:4860:4860::8888 2002:808:808::1 3ffe::1
		::ffff:8.8.8.8 ::8.8.8.8 64:ff9b::8.8.8.8 2001:0:808:808::f7f7:f7f7`) {
		if why := refusal(t, d, addr); why != "" {
			t.Errorf("%s: %s", addr, why)
		}
	}
}

func TestAllowedNetworks(t *testing.T) {
	tests := []struct {
		allow         string
		dialled, shut string
	}{
		{"10.0.0.0/8", "10.1.2.3 ::ffff:10.1.2.3 64:ff9b::10.1.2.3 2002:a01:203::1 ::10.1.2.3", "11.0.0.0/8 192.168.0.1 127.0.0.1 64:ff9b::192.168.0.1"},
		{"::ffff:10.0.0.0/104", "10.1.2.3 ::ffff:10.1.2.3", "192.168.0.1"},
		{"127.0.0.1", "127.0.0.1 ::ffff:127.0.0.1", "127.0.0.2 ::1"},
		{"::1", "::1", "127.0.0.1 ::2"},
		{"fe80::/10", "fe80::1 fe80::1%eth0", "fec0::1"},
		{"fd00::/8", "fd12::1 fd00:ec2::254", "fc00::1"},
		{"64:ff9b:1::/48", "64:ff9b:1::10.0.0.1", "64:ff9b::10.0.0.1"},
	}
	for _, tt := range tests {
		d := newDialer(t, egress.Config{Dial: pipe, Allow: networks(t, tt.allow)})
		for addr := range strings.FieldsSeq(tt.dialled) {
			if why := refusal(t, d, addr); why != "" {
				t.Errorf("%s allowed, %s refused: %s", tt.allow, addr, why)
			}
		}
		for addr := range strings.FieldsSeq(tt.shut) {
			if !strings.Contains(addr, "/") && refusal(t, d, addr) == "" {
				t.Errorf("%s allowed, and so was %s", tt.allow, addr)
			}
		}
	}
}

// FuzzAddress checks what must hold for any address: what the standard library calls private,
// local or multicast is never dialled, neither plain nor wrapped in any of the ways to hide it.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"10.0.0.1", "8.8.8.8", "::1", "fe80::1%1", "2001:db8::1", "64:ff9b::1", "2002:a00:1::", "127.1", "0x7f.1", "localhost"} {
		f.Add(seed)
	}
	nothing := &names{}
	f.Fuzz(func(t *testing.T, text string) {
		var dialled string
		d := newDialer(t, egress.Config{Resolver: nothing, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = address
			return nil, errDead
		}})
		_, _ = d.DialContext(t.Context(), "tcp", net.JoinHostPort(text, "25"))
		if dialled != "" {
			ap, err := netip.ParseAddrPort(dialled)
			if err != nil {
				t.Fatalf("%q: %q was dialled, which is no address", text, dialled)
			}
			if bad(ap.Addr()) {
				t.Fatalf("%q: %s was dialled", text, dialled)
			}
		}
		addr, err := netip.ParseAddr(text)
		if err != nil || !addr.Unmap().Is4() || !bad(addr.Unmap()) {
			return
		}
		b := addr.Unmap().As4()
		for _, wrapped := range []netip.Addr{
			netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}),
			netip.AddrFrom16([16]byte{12: b[0], 13: b[1], 14: b[2], 15: b[3]}),
			netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}),
			netip.AddrFrom16([16]byte{0x20, 2, b[0], b[1], b[2], b[3]}),
			netip.AddrFrom16([16]byte{0x20, 1, 4: 8, 5: 8, 6: 8, 7: 8, 12: ^b[0], 13: ^b[1], 14: ^b[2], 15: ^b[3]}),
		} {
			if refusal(t, d, wrapped.String()) == "" {
				t.Fatalf("%s was dialled", wrapped)
			}
		}
	})
}

// bad is an independent judgement of the plain cases.
func bad(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || !a.IsGlobalUnicast() || a.Is4In6()
}
