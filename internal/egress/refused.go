package egress

import (
	"net"
	"net/netip"
	"strconv"
)

// The settings of the service that let more be dialled.
const (
	// SettingAllow lists networks; see ParseNetworks.
	SettingAllow = "POSTRIDER_EGRESS_ALLOW"
	// SettingPorts lists ports; see ParsePorts.
	SettingPorts = "POSTRIDER_EGRESS_PORTS"
)

// RefusedError says that a host was not dialled because the operator has not allowed its
// network or port. It is a fault of whoever named the host, or a decision that the
// operator has yet to make: the same will be refused again.
type RefusedError struct {
	Host    string     // as it was named
	Addr    netip.Addr // what it resolved to; invalid if the port was refused
	Port    int
	Reason  string // "10.0.0.0/8 is private"
	Setting string // SettingAllow or SettingPorts
}

// Error is one line: host, address, why, and the setting that would allow it.
func (e *RefusedError) Error() string {
	where := net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
	if e.Addr.IsValid() && e.Addr.String() != e.Host {
		where += " (" + e.Addr.String() + ")"
	}
	value := strconv.Itoa(e.Port)
	if e.Setting == SettingAllow {
		value = e.Addr.WithZone("").String()
	}
	return "egress: " + where + " is not dialled: " + e.Reason + "; the operator can allow it with " + e.Setting + "=" + value
}
