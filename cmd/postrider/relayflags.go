package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtp"
)

// relayFlags say which relay and how to reach it; send and check share them.
type relayFlags struct {
	Relay        string `group:"relay" env:"POSTRIDER_RELAY" placeholder:"URL" help:"smtp://user:pass@host:587 (STARTTLS, required), smtps://user:pass@host:465 or smtp://host:25?tls=none. Other users of the machine can read command lines: a password is safer in the environment."`
	PasswordFile string `group:"relay" placeholder:"FILE" help:"Read the relay's password from the first line of FILE."`
	LocalName    string `group:"relay" placeholder:"NAME" help:"Name given in EHLO; default: this host's name."`
	CAFile       string `group:"relay" name:"ca-file" placeholder:"FILE" help:"Trust the certificate authorities in FILE (PEM) instead of the system's."`
	ClientCert   string `group:"relay" placeholder:"FILE" help:"Client certificate (PEM), with --client-key."`
	ClientKey    string `group:"relay" placeholder:"FILE" help:"Key of the client certificate (PEM)."`
	Strict       bool   `group:"relay" help:"Never put content at risk on a connection that may be closing, at the cost of a round trip."`

	DangerouslyAllowPlaintextAuth bool `group:"relay" help:"Send the password over an unencrypted connection."`
	DangerouslySkipTLSVerify      bool `group:"relay" name:"dangerously-skip-tls-verify" help:"Accept any certificate: anybody on the way can read the mail and the password."`

	Verbose bool `group:"run" short:"v" help:"Show the SMTP dialogue on standard error, secrets blotted out."`
}

// relay reads the relay URL and the password file.
func (f *relayFlags) relay() (postrider.Relay, error) {
	if f.Relay == "" {
		return postrider.Relay{}, usagef("--relay is missing: write --relay smtp://user@host:587, or set POSTRIDER_RELAY")
	}
	r, err := postrider.ParseRelay(f.Relay)
	if err != nil {
		return r, usagef("--relay: %s", strings.TrimPrefix(err.Error(), "postrider: relay URL: "))
	}
	if f.PasswordFile != "" {
		b, err := readSmallFile(f.PasswordFile)
		if err != nil {
			return r, usagef("--password-file: %w", err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		r.Password = strings.TrimSuffix(line, "\r")
		if r.Username == "" {
			return r, usagef("--password-file: the relay URL names no user; write smtp://user@%s", r.Host)
		}
		if r.Password == "" {
			return r, usagef("--password-file: the first line of %s is empty", f.PasswordFile)
		}
	}
	if r.Username != "" && r.Password == "" {
		return r, usagef("--relay: it names a user and no password: write %s://user:password@%s, or give --password-file FILE", scheme(r), net.JoinHostPort(r.Host, strconv.Itoa(r.Port)))
	}
	return r, nil
}

func scheme(r postrider.Relay) string {
	if r.TLSMode == smtp.TLSImplicit {
		return "smtps"
	}
	return "smtp"
}

// config gives the client settings that the flags describe.
func (f *relayFlags) config(p *program) (*postrider.Config, error) {
	cfg := &postrider.Config{
		LocalName:                     f.LocalName,
		Strict:                        f.Strict,
		DangerouslyAllowPlaintextAuth: f.DangerouslyAllowPlaintextAuth,
		DangerouslySkipTLSVerify:      f.DangerouslySkipTLSVerify,
	}
	if f.Verbose {
		cfg.Trace = tracer(p.stderr)
	}
	if f.CAFile == "" && f.ClientCert == "" && f.ClientKey == "" {
		return cfg, nil
	}
	cfg.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CAFile != "" {
		pem, err := readSmallFile(f.CAFile)
		if err != nil {
			return nil, usagef("--ca-file: %w", err)
		}
		cfg.TLSConfig.RootCAs = x509.NewCertPool()
		if !cfg.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--ca-file: %s holds no PEM certificate", f.CAFile)
		}
	}
	if (f.ClientCert == "") != (f.ClientKey == "") {
		return nil, usagef("--client-cert and --client-key go together")
	}
	if f.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(f.ClientCert, f.ClientKey)
		if err != nil {
			return nil, usagef("--client-cert: %w", err)
		}
		cfg.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// client builds the client that the flags describe; adjust may change its settings before.
func (f *relayFlags) client(p *program, adjust func(*postrider.Config)) (*postrider.Client, error) {
	relay, err := f.relay()
	if err != nil {
		return nil, err
	}
	cfg, err := f.config(p)
	if err != nil {
		return nil, err
	}
	if adjust != nil {
		adjust(cfg)
	}
	client, err := postrider.NewRelay(relay, cfg)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	return client, nil
}

// tracer writes each line of a dialogue with one write.
func tracer(w io.Writer) func(smtp.TraceLine) {
	return func(l smtp.TraceLine) {
		fmt.Fprintf(w, "%s %d %s %s\n", l.Time.Format("15:04:05.000"), l.Conn, l.Dir, printable(l.Text))
	}
}
