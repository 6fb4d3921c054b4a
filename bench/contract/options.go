// Package contract is what all drivers share: the flags, the content of the
// messages, the loop that measures, and the JSON line that the runner reads.
//
// A driver is a program for one SMTP client library. It implements Conn over
// the library and calls Main. It builds each message anew with the library's
// own means, as its documentation recommends: building is part of what is
// measured.
package contract

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// User and Password are the credentials that the sink takes.
const (
	User     = "bench"
	Password = "secret"
)

// MailFrom is the reverse-path and the From field of every message, and HeloName
// the name for EHLO where a library lets us choose.
const (
	MailFrom = "sender@example.com"
	HeloName = "bench.example.com"
)

// Options are the flags of a driver, and the content made from them.
type Options struct {
	Addr           string        // server, host and port
	Host           string        // its host
	Port           int           // its port
	N              int           // messages to send
	Conns          int           // connections to use
	Size           int           // bytes of text and HTML together
	Attach         int           // bytes of one attachment; 0 means none
	Batch          int           // messages a call of Conn.Send
	StartTLS       bool          // STARTTLS, required
	TLS            bool          // implicit TLS
	TLSConfig      *tls.Config   // nil without StartTLS and TLS
	User, Password string        // empty user: no AUTH
	RcptTo         []string      // forward-paths of every message
	Hold           time.Duration // idle mode: how long to sit on the connections
	Mode           string        // a variant of the driver, if it has any
	Content        Content

	ca, prefix, cpuProfile, memProfile string
}

// parse reads the command line.
func parse(peer string, args []string) (*Options, error) {
	o := &Options{}
	var rcpt string
	f := flag.NewFlagSet(peer, flag.ContinueOnError)
	f.StringVar(&o.Addr, "addr", "127.0.0.1:2525", "server")
	f.IntVar(&o.N, "n", 100, "messages")
	f.IntVar(&o.Conns, "c", 1, "connections")
	f.IntVar(&o.Size, "size", 2048, "bytes of text and HTML together")
	f.IntVar(&o.Attach, "attach", 0, "bytes of one attachment")
	f.IntVar(&o.Batch, "batch", 50, "messages a call, where the library has a call for several")
	f.BoolVar(&o.StartTLS, "starttls", false, "STARTTLS, required")
	f.BoolVar(&o.TLS, "tls", false, "implicit TLS")
	f.StringVar(&o.ca, "ca", "", "PEM file with the certificate to trust (required with -starttls and -tls)")
	f.StringVar(&o.User, "user", "", "user for AUTH; empty means no AUTH")
	f.StringVar(&o.Password, "pass", "", "password for AUTH")
	f.StringVar(&rcpt, "rcpt", "rcpt@example.com", "recipients, comma separated")
	f.StringVar(&o.prefix, "id-prefix", "", "start of every X-Bench-Id; default: peer, process and time")
	f.DurationVar(&o.Hold, "hold", 0, "idle mode: one message on each connection, then sit still this long and report memory")
	f.StringVar(&o.Mode, "mode", "", "variant of the driver")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write a CPU profile of the sending to this file")
	f.StringVar(&o.memProfile, "memprofile", "", "write a profile of the memory allocated and in use, before the connections are closed, to this file; slows down")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("-addr: %w", err)
	}
	o.Host = host
	if o.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("-addr: %w", err)
	}
	o.RcptTo = strings.Split(rcpt, ",")
	if o.StartTLS || o.TLS {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca: no certificate in %s", o.ca)
		}
		o.TLSConfig = &tls.Config{ServerName: host, RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if o.prefix == "" {
		o.prefix = fmt.Sprintf("%s-%d-%d", peer, os.Getpid(), time.Now().UnixNano())
	}
	return o, nil
}
