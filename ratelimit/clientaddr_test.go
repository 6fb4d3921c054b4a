package ratelimit_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/postrider/postrider/ratelimit"
)

func proxies(t testing.TB, text string) []netip.Prefix {
	t.Helper()
	p, err := ratelimit.ParseProxies(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientAddr(t *testing.T) {
	t.Parallel()
	const trusted = "10.0.0.0/8, fd00::/8, 192.0.2.7"
	tests := map[string]struct {
		remote    string
		forwarded []string // fields, top to bottom
		want      string
	}{
		"no proxy":                     {"203.0.113.5:4711", nil, "203.0.113.5"},
		"no proxy, but a claim":        {"203.0.113.5:4711", []string{"198.51.100.1"}, "203.0.113.5"},
		"one proxy":                    {"10.1.1.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		"a proxy that says nothing":    {"10.1.1.1:80", nil, "10.1.1.1"},
		"two proxies":                  {"10.1.1.1:80", []string{"198.51.100.1, 10.2.2.2"}, "198.51.100.1"},
		"two fields":                   {"10.1.1.1:80", []string{"198.51.100.1", "10.2.2.2"}, "198.51.100.1"},
		"made up on the left":          {"10.1.1.1:80", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		"made up as a proxy":           {"10.1.1.1:80", []string{"1.1.1.1, 10.9.9.9, 198.51.100.1,10.2.2.2"}, "198.51.100.1"},
		"made up in a field before":    {"10.1.1.1:80", []string{"10.9.9.9", "198.51.100.1"}, "198.51.100.1"},
		"only proxies":                 {"10.1.1.1:80", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		"a name":                       {"10.1.1.1:80", []string{"198.51.100.1, unknown"}, "10.1.1.1"},
		"a name behind a proxy":        {"10.1.1.1:80", []string{"198.51.100.1, _x, 10.2.2.2"}, "10.2.2.2"},
		"empty entry":                  {"10.1.1.1:80", []string{"198.51.100.1,"}, "10.1.1.1"},
		"empty field":                  {"10.1.1.1:80", []string{""}, "10.1.1.1"},
		"with ports":                   {"10.1.1.1:80", []string{"198.51.100.1:999, [fd00::2]:443"}, "198.51.100.1"},
		"brackets without port":        {"10.1.1.1:80", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"spaces and tabs":              {"10.1.1.1:80", []string{" \t198.51.100.1\t , \t10.2.2.2 "}, "198.51.100.1"},
		"IPv6":                         {"[2001:db8::1]:80", []string{"198.51.100.1"}, "2001:db8::1"},
		"IPv6 proxy":                   {"[fd00::1]:80", []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv4 in IPv6":                 {"[::ffff:10.1.1.1]:80", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"zone":                         {"[fe80::1%eth0]:80", nil, "fe80::1"},
		"single trusted address":       {"192.0.2.7:80", []string{"198.51.100.1"}, "198.51.100.1"},
		"neighbour of the trusted one": {"192.0.2.8:80", []string{"198.51.100.1"}, "192.0.2.8"},
		"Unix socket":                  {"@", []string{"198.51.100.1"}, "invalid IP"},
		"no address":                   {"", nil, "invalid IP"},
		"a very long entry":            {"10.1.1.1:80", []string{strings.Repeat("9", 1<<20)}, "10.1.1.1"},
		"very many proxies":            {"10.1.1.1:80", []string{"198.51.100.1" + strings.Repeat(",10.2.2.2", 1000)}, "10.2.2.2"},
	}
	for name, test := range tests {
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{"X-Forwarded-For": test.forwarded}}
		if got := ratelimit.ClientAddr(r, proxies(t, trusted)).String(); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
		if direct, err := netip.ParseAddrPort(test.remote); err == nil {
			if got, want := ratelimit.ClientAddr(r, nil), direct.Addr().Unmap().WithZone(""); got != want {
				t.Errorf("%s: without trusted proxies got %s, want %s", name, got, want)
			}
		}
	}
}

func TestAddrKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"203.0.113.5":           "203.0.113.5",
		"::ffff:203.0.113.5":    "203.0.113.5",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":   "2001:db8:1:2::/64",
		"2001:db8:1:3::1":       "2001:db8:1:3::/64",
		"fe80::1%eth0":          "fe80::/64",
		"::1":                   "::/64",
		"64:ff9b::203.0.113.99": "64:ff9b::/64",
	} {
		if got := ratelimit.AddrKey(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	if got := ratelimit.AddrKey(netip.Addr{}); got != "unknown" {
		t.Errorf("no address: %s", got)
	}
}

func TestParseProxies(t *testing.T) {
	t.Parallel()
	got := proxies(t, " 10.1.2.3/8,192.0.2.7 ::ffff:192.0.2.9\t::ffff:10.0.0.0/104 , fd00::1/8")
	want := "10.0.0.0/8 192.0.2.7/32 192.0.2.9/32 10.0.0.0/8 fd00::/8"
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	if strings.Join(texts, " ") != want {
		t.Errorf("got %v, want %s", texts, want)
	}
	if got := proxies(t, ""); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
	_, err := ratelimit.ParseProxies("10.0.0.0/8, proxy.example.com, 10.0.0.0/33, fe80::1%eth0, ::ffff:10.0.0.0/90")
	for _, bad := range []string{`"proxy.example.com"`, `"10.0.0.0/33"`, `"fe80::1%eth0"`, `"::ffff:10.0.0.0/90"`} {
		if err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("error %v, want %s in it", err, bad)
		}
	}
}

// FuzzClientAddr: whatever stands in the field, the answer is the connection's address or
// one that trusted proxies reported, and what a client prepends changes nothing once an
// untrusted address was found.
func FuzzClientAddr(f *testing.F) {
	f.Add("10.1.1.1:80", "198.51.100.1, 10.2.2.2", "1.1.1.1")
	f.Add("10.1.1.1:80", "[2001:db8::1]:443,unknown", "")
	f.Add("[fd00::1%x]:80", "::ffff:10.1.1.1, ,", ",,,")
	f.Add("@", "x", "y")
	trusted := proxies(f, "10.0.0.0/8, fd00::/8")
	isTrusted := func(a netip.Addr) bool {
		return trusted[0].Contains(a) || trusted[1].Contains(a)
	}
	f.Fuzz(func(t *testing.T, remote, forwarded, claim string) {
		ask := func(fields ...string) netip.Addr {
			return ratelimit.ClientAddr(&http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": fields}}, trusted)
		}
		direct, got := ask(), ask(forwarded)
		if direct.IsValid() != got.IsValid() || got.Is4In6() || got.Zone() != "" {
			t.Fatalf("got %s, the connection is %s", got, direct)
		}
		if !isTrusted(direct) && got != direct {
			t.Fatalf("%s is not trusted and was believed to be %s", direct, got)
		}
		if !isTrusted(got) && (ask(claim+","+forwarded) != got || ask(claim, forwarded) != got) {
			t.Fatalf("%q before %q changes %s", claim, forwarded, got)
		}
		if key := ratelimit.AddrKey(got); key == "" || len(key) > 64 {
			t.Fatalf("key %q", key)
		}
	})
}
