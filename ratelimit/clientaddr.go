package ratelimit

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// maxHops bounds how many addresses of X-Forwarded-For are read. Nobody has more proxies
// of their own than that, and a client can send any number.
const maxHops = 32

// ParseProxies reads a list of addresses and networks of trusted proxies, separated by
// commas or spaces, such as "10.0.0.0/8, 192.0.2.7, fd00::/8". An empty text is an empty
// list. The error names every entry that cannot be read.
func ParseProxies(text string) ([]netip.Prefix, error) {
	var (
		proxies []netip.Prefix
		bad     []string
	)
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		p, err := netip.ParsePrefix(field)
		if err != nil {
			addr, err := netip.ParseAddr(field)
			if err != nil || addr.Zone() != "" {
				bad = append(bad, fmt.Sprintf("%.60q", field))
				continue
			}
			addr = addr.Unmap()
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		if p.Addr().Is4In6() {
			// ::ffff:10.0.0.0/104 is meant as 10.0.0.0/8: addresses are compared unmapped.
			if p.Bits() < 96 {
				bad = append(bad, fmt.Sprintf("%.60q", field))
				continue
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		proxies = append(proxies, p.Masked())
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("ratelimit: trusted proxies: cannot read %s; write addresses or networks such as 10.0.0.0/8", strings.Join(bad, ", "))
	}
	return proxies, nil
}

// ClientAddr returns the address of the client that sent r: the connection's, or, if that
// belongs to a trusted proxy, what the proxies say in X-Forwarded-For. That field is read
// from the right, where each proxy adds the address it was called from, for as long as
// these are trusted proxies too; whatever stands further left, the client may have made
// up. An entry that is no address ends the reading: then the last proxy counts as the
// client. The address is invalid if the connection has none, as on a Unix socket.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	return forwardedAddr(parseHop(r.RemoteAddr), r.Header["X-Forwarded-For"], trusted)
}

// forwardedAddr follows the fields of X-Forwarded-For, in the order of the header, from a
// connection's address.
func forwardedAddr(addr netip.Addr, fields []string, trusted []netip.Prefix) netip.Addr {
	hops := 0
	for i := len(fields) - 1; i >= 0; i-- {
		rest, more := fields[i], true
		for more {
			if hops++; hops > maxHops || !isTrusted(addr, trusted) {
				return addr
			}
			entry := rest
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				entry, rest = rest[at+1:], rest[:at]
			} else {
				more = false
			}
			next := parseHop(strings.Trim(entry, " \t"))
			if !next.IsValid() {
				return addr
			}
			addr = next
		}
	}
	return addr
}

// parseHop reads an address, with or without a port and brackets; some proxies add them.
func parseHop(text string) netip.Addr {
	// The longest is an IPv6 address with an IPv4 tail in brackets, a zone and a port.
	if len(text) > 80 {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
			addr, err = netip.ParseAddr(inner[:len(inner)-1])
		} else {
			var port netip.AddrPort
			port, err = netip.ParseAddrPort(text)
			addr = port.Addr()
		}
		if err != nil {
			return netip.Addr{}
		}
	}
	// An IPv4 client of an IPv6 socket is an IPv4 client.
	return addr.Unmap().WithZone("")
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// AddrKey is the key under which an address is counted: an IPv4 address alone, an IPv6
// address with its /64, which is the least that one customer is given and within which
// anybody can take another address for each request. All invalid addresses share "unknown".
func AddrKey(addr netip.Addr) string {
	if !addr.IsValid() {
		return "unknown"
	}
	addr = addr.Unmap()
	if addr.Is4() {
		return addr.String()
	}
	// No error: an IPv6 address without a zone has 64 bits.
	p, _ := addr.WithZone("").Prefix(64)
	return p.String()
}
