package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ParseNetworks reads the setting POSTRIDER_EGRESS_ALLOW: networks ("10.0.0.0/8",
// "fd00::/8") and single addresses ("127.0.0.1"), separated by commas or spaces. Empty
// text gives nil. The error joins every fault, each naming its part.
func ParseNetworks(text string) ([]netip.Prefix, error) {
	var (
		prefixes []netip.Prefix
		faults   []error
	)
	for _, part := range split(text) {
		p, err := parseNetwork(part)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		prefixes = append(prefixes, p)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return prefixes, nil
}

// split gives the parts between commas and space.
func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
}

func parseNetwork(part string) (netip.Prefix, error) {
	if !strings.Contains(part, "/") {
		addr, err := netip.ParseAddr(part)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor an IP address", part)
		}
		if addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q has a zone; write the address without %%%s", part, addr.Zone())
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(part)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network; write an address and a length, such as 10.0.0.0/8", part)
	}
	clean, err := cleanPrefix(p)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr() != p.Masked().Addr() {
		// 10.1.2.3/8 allows far more than it seems to.
		return netip.Prefix{}, fmt.Errorf("%q has bits set after its length; write %s, or %s for the one address", part, clean, p.Addr())
	}
	return clean, nil
}

// cleanPrefix gives p masked, and as IPv4 where it is a network of IPv4-mapped addresses:
// addresses are compared unwrapped.
func cleanPrefix(p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return netip.Prefix{}, fmt.Errorf("%q is no network", p)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q is cut in the middle of IPv4-mapped addresses; write the IPv4 network", p)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// ParsePorts reads the setting POSTRIDER_EGRESS_PORTS: port numbers separated by commas
// or spaces, or "any", which gives nil, as Config.Ports has it. Empty text gives RelayPorts.
// The error joins every fault, each naming its part.
func ParsePorts(text string) ([]int, error) {
	parts := split(text)
	switch {
	case len(parts) == 0:
		return RelayPorts(), nil
	case len(parts) == 1 && strings.EqualFold(parts[0], "any"):
		return nil, nil
	}
	var (
		ports  []int
		faults []error
	)
	for _, part := range parts {
		port, err := strconv.Atoi(part)
		if err != nil || port < 1 || port > 65535 {
			faults = append(faults, fmt.Errorf("%q is no port: write numbers from 1 to 65535, or \"any\" alone", part))
			continue
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return ports, nil
}
