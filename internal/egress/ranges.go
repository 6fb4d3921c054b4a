package egress

import (
	"encoding/binary"
	"net/netip"
)

// special is a network that is not public.
type special struct {
	prefix string
	what   string
}

// specials are the networks that the IANA registries of special-purpose addresses do not
// call globally reachable (RFC 6890 and those that update it), what is deprecated, and what
// clouds answer on. The narrower stands before the wider, for the sake of the reason given.
func specials() []special {
	return []special{
		{"169.254.169.254/32", "the metadata server of clouds"},
		{"168.63.129.16/32", "the host agent of the Azure cloud"}, // public by number, local in fact
		{"100.100.100.200/32", "the metadata server of the Alibaba cloud"},
		{"0.0.0.0/8", "this network, unspecified (RFC 791)"},
		{"10.0.0.0/8", "private (RFC 1918)"},
		{"100.64.0.0/10", "shared by carrier-grade NAT (RFC 6598)"},
		{"127.0.0.0/8", "loopback (RFC 1122)"},
		{"169.254.0.0/16", "link-local (RFC 3927)"},
		{"172.16.0.0/12", "private (RFC 1918)"},
		{"192.0.0.0/24", "for protocol assignments (RFC 6890)"},
		{"192.0.2.0/24", "for documentation (RFC 5737)"},
		{"192.88.99.0/24", "the deprecated 6to4 relay (RFC 7526)"},
		{"192.168.0.0/16", "private (RFC 1918)"},
		{"198.18.0.0/15", "for benchmarks (RFC 2544)"},
		{"198.51.100.0/24", "for documentation (RFC 5737)"},
		{"203.0.113.0/24", "for documentation (RFC 5737)"},
		{"224.0.0.0/4", "multicast (RFC 5771)"},
		{"255.255.255.255/32", "broadcast (RFC 919)"},
		{"240.0.0.0/4", "reserved (RFC 1112)"},

		{"::/128", "unspecified (RFC 4291)"},
		{"::1/128", "loopback (RFC 4291)"},
		{"64:ff9b:1::/48", "for local translation to IPv4 (RFC 8215)"},
		{"fd00:ec2::254/128", "the metadata server of the AWS cloud"},
		{"fd20:ce::254/128", "the metadata server of the Google cloud"},
		{"fc00::/7", "private (RFC 4193)"},
		{"fe80::/10", "link-local (RFC 4291)"},
		{"fec0::/10", "site-local (RFC 3879)"},
		{"ff00::/8", "multicast (RFC 4291)"},
		{"2001::/32", ""}, // Teredo: judged by what it hides
		{"2001::/23", "for protocol assignments (RFC 2928)"},
		{"2001:db8::/32", "for documentation (RFC 3849)"},
		{"3fff::/20", "for documentation (RFC 9637)"},
		{"2000::/3", ""},     // global unicast: what remains of it is public
		{"64:ff9b::/96", ""}, // NAT64: judged by what it hides
		{"::/96", ""},        // IPv4-compatible: judged by what it hides
		{"::/0", "not global unicast (RFC 4291)"},
	}
}

// table is specials, parsed.
type table []struct {
	prefix netip.Prefix
	what   string
}

func parseTable() table {
	list := specials()
	t := make(table, len(list))
	for i, s := range list {
		t[i].prefix, t[i].what = netip.MustParsePrefix(s.prefix), s.what
	}
	return t
}

// reason says why addr is not dialled; "": it may be.
func (d *Dialer) reason(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return "it is no address"
	}
	for _, p := range d.allow {
		if p.Contains(addr) {
			return ""
		}
	}
	if what, prefix := d.table.find(addr); what != "" {
		return prefix.String() + " is " + what
	}
	for _, hidden := range hidden(addr) {
		if why := d.reason(hidden); why != "" {
			return "it hides " + hidden.String() + ", and " + why
		}
	}
	return ""
}

// find gives the network of addr that is not public; "": there is none.
func (t table) find(addr netip.Addr) (what string, prefix netip.Prefix) {
	for i := range t {
		if t[i].prefix.Contains(addr) {
			return t[i].what, t[i].prefix
		}
	}
	return "", netip.Prefix{}
}

// hidden gives the IPv4 addresses that an IPv6 address leads to where it is translated or
// tunnelled. IPv4-mapped ones never come here: they are unwrapped at once.
func hidden(addr netip.Addr) []netip.Addr {
	if !addr.Is6() {
		return nil
	}
	b := addr.As16()
	v4 := func(at int, mask uint32) netip.Addr {
		var out [4]byte
		binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(b[at:])^mask)
		return netip.AddrFrom4(out)
	}
	switch {
	case b[0] == 0x20 && b[1] == 0x02: // 2002::/16, 6to4 (RFC 3056 §2)
		return []netip.Addr{v4(2, 0)}
	case binary.BigEndian.Uint32(b[:]) == 0x20010000: // 2001::/32, Teredo: server and, inverted, client (RFC 4380 §4)
		return []netip.Addr{v4(4, 0), v4(12, 0xffffffff)}
	case binary.BigEndian.Uint64(b[:]) == 0x0064ff9b_00000000 && binary.BigEndian.Uint32(b[8:]) == 0: // 64:ff9b::/96, NAT64 (RFC 6052 §2.1)
		return []netip.Addr{v4(12, 0)}
	case binary.BigEndian.Uint64(b[:]) == 0 && binary.BigEndian.Uint32(b[8:]) == 0: // ::/96, IPv4-compatible (RFC 4291 §2.5.5.1)
		return []netip.Addr{v4(12, 0)}
	}
	return nil
}
