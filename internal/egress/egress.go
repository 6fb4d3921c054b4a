// Package egress dials hosts that tenants name, and keeps them from reaching what
// only this machine or its network should reach: a relay called 127.0.0.1, a name
// that resolves to the cloud's metadata server, a private address wrapped in an
// IPv6 one (server-side request forgery).
//
// A name is resolved once and exactly the address that was judged is dialled, so that
// a second answer of the resolver (DNS rebinding) has no say. Only addresses that are
// globally reachable by the IANA special-purpose registries (RFC 6890, RFC 8190) are
// dialled, and those in the networks that the operator allowed. IPv4 addresses hidden
// in IPv6 ones count too: IPv4-mapped and IPv4-compatible (RFC 4291 §2.5.5), 6to4
// (RFC 3056), Teredo (RFC 4380), NAT64 (RFC 6052, RFC 8215).
//
// It speaks no protocol and knows no proxy. The service's delivery and its relay check
// give [Dialer.DialContext] to package smtp.
package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	defaultTimeout = 30 * time.Second
	// leastTry is what an address gets, if there is that much time left, before the next
	// one is tried: enough for a connection to the other side of the world with one packet lost.
	leastTry = 2 * time.Second
	// maxAddresses bounds how many addresses of one name are tried: who names the host
	// also says how many addresses it has.
	maxAddresses = 8
)

// Resolver looks up the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config says where a Dialer may go. The zero value goes to public addresses only,
// on any port. It is copied by New.
type Config struct {
	// Allow are networks that may be dialled although they are private or special; nil: none.
	// See ParseNetworks.
	Allow []netip.Prefix
	// Ports that may be dialled; nil: any. For relays see RelayPorts and ParsePorts.
	Ports []int
	// Resolver looks names up; nil: net.DefaultResolver.
	Resolver Resolver
	// Timeout bounds look-up and connecting together, as the context does; 0: 30 s.
	Timeout time.Duration
	// Dial connects to "address:port", an IP address that was judged; nil: a net.Dialer. It must obey ctx.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dialer opens connections to addresses that were judged harmless. Safe for concurrent use.
type Dialer struct {
	allow    []netip.Prefix
	ports    []int
	resolver Resolver
	timeout  time.Duration
	table    table
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// RelayPorts are the ports on which mail is handed in: 25, 465, 587 and 2525, which many
// relays offer where 25 is blocked.
func RelayPorts() []int { return []int{25, 465, 587, 2525} }

// New checks the configuration; the error joins every fault.
func New(cfg Config) (*Dialer, error) {
	d := &Dialer{ports: slices.Clone(cfg.Ports), resolver: cfg.Resolver, timeout: cfg.Timeout, dial: cfg.Dial, table: parseTable()}
	var faults []error
	for _, p := range cfg.Allow {
		clean, err := cleanPrefix(p)
		if err != nil {
			faults = append(faults, fmt.Errorf("egress: Allow: %w", err))
			continue
		}
		d.allow = append(d.allow, clean)
	}
	for _, port := range cfg.Ports {
		if port < 1 || port > 65535 {
			faults = append(faults, fmt.Errorf("egress: Ports: %d is no port: 1 to 65535", port))
		}
	}
	if cfg.Timeout < 0 {
		faults = append(faults, fmt.Errorf("egress: Timeout: %v is negative; 0 means %v", cfg.Timeout, defaultTimeout))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if d.resolver == nil {
		d.resolver = net.DefaultResolver
	}
	if d.timeout == 0 {
		d.timeout = defaultTimeout
	}
	if d.dial == nil {
		d.dial = new(net.Dialer).DialContext
	}
	return d, nil
}

// DialContext opens a connection to address, "host:port"; network is "tcp", "tcp4" or "tcp6".
// The addresses of a name are tried in the resolver's order, those that may not be dialled left out.
// The error is a *RefusedError if no address is left or the port may not be dialled,
// else the resolver's or the last connection's.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	family, ok := families()[network]
	if !ok {
		return nil, fmt.Errorf("egress: network %q: only tcp, tcp4 and tcp6 are dialled", network)
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("egress: %q is no host:port: %w", address, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 1 || port > 65535 {
		// Names of ports ("smtp") are looked up in a file of the machine; nobody needs that.
		return nil, fmt.Errorf("egress: port %q of %q is no number from 1 to 65535", portText, host)
	}
	if d.ports != nil && !slices.Contains(d.ports, port) {
		return nil, &RefusedError{Host: host, Port: port, Reason: "this port is not one for relays", Setting: SettingPorts}
	}
	addrs, err := d.judged(ctx, family, host, port)
	if err != nil {
		return nil, err
	}
	return d.dialFirst(ctx, network, addrs, port)
}

// families gives, for a network that may be dialled, what to ask the resolver for.
func families() map[string]string {
	return map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}
}

// judged resolves host and keeps the addresses that may be dialled, at least one.
func (d *Dialer) judged(ctx context.Context, family, host string, port int) ([]netip.Addr, error) {
	var addrs []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{literal}
	} else if addrs, err = d.resolver.LookupNetIP(ctx, family, host); err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	var (
		good    []netip.Addr
		refused *RefusedError
	)
	for _, addr := range addrs {
		// A mapped address is dialled as the IPv4 address that the system would dial for it.
		addr = addr.Unmap()
		switch reason := d.reason(addr); {
		case reason == "":
			good = append(good, addr)
		case refused == nil:
			refused = &RefusedError{Host: host, Addr: addr, Port: port, Reason: reason, Setting: SettingAllow}
		}
	}
	switch {
	case len(good) > 0:
		return good[:min(len(good), maxAddresses)], nil
	case refused != nil:
		return nil, refused
	default:
		return nil, fmt.Errorf("egress: %w", &net.DNSError{Err: "no address", Name: host, IsNotFound: true})
	}
}

// dialFirst connects to the first address that answers. Each gets its share of the time
// that is left, so that a dead one does not use up the others'.
func (d *Dialer) dialFirst(ctx context.Context, network string, addrs []netip.Addr, port int) (net.Conn, error) {
	var last error
	for i, addr := range addrs {
		share, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok && i < len(addrs)-1 {
			left := time.Until(deadline)
			share, cancel = context.WithTimeout(ctx, max(left/time.Duration(len(addrs)-i), min(left, leastTry)))
		}
		conn, err := d.dial(share, network, netip.AddrPortFrom(addr, uint16(port)).String())
		cancel()
		if err == nil {
			return conn, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("egress: %w", last)
}
