package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/smtp/smtptest"
)

// inboxCommand runs a server for development.
type inboxCommand struct {
	Listen    string   `group:"server" default:"127.0.0.1:1025" placeholder:"ADDR" help:"Address for SMTP, with STARTTLS; port 0 picks a free one. Default: 127.0.0.1:1025."`
	ListenTLS string   `group:"server" placeholder:"ADDR" help:"Address for SMTP with implicit TLS; default: none."`
	HTTP      string   `group:"server" name:"http" default:"127.0.0.1:8026" placeholder:"ADDR" help:"Address for the pages; empty: none. Default: 127.0.0.1:8026."`
	User      []string `group:"server" placeholder:"NAME:PASSWORD" sep:"none" help:"Accept mail only from this user; may be repeated. Default: from anybody."`
	Keep      int      `group:"server" default:"1000" help:"Messages to keep; older ones go."`
	MaxSize   int64    `group:"server" default:"209715200" help:"Largest message in octets."`
	CAOut     string   `group:"server" name:"ca-out" placeholder:"FILE" help:"Write the certificate authority of this run to FILE, for send --ca-file."`
	Chaos     []string `group:"chaos" sep:"none" placeholder:"WHEN=WHAT" help:"Misbehave as said above; may be repeated."`
}

// Help is the text between the command's summary and its flags.
func (*inboxCommand) Help() string {
	return "Everything is accepted and nothing is sent on. With --chaos WHEN=WHAT it misbehaves:\n\n    " +
		strings.ReplaceAll(inbox.ChaosHelp, "\n", "\n    ")
}

// Run serves until the context ends.
func (c *inboxCommand) Run(p *program) error {
	cfg := smtptest.Config{
		Addr: c.Listen, TLSAddr: "-", MaxSize: c.MaxSize,
		MaxContent: -1, KeepRecords: -1, Timeout: 10 * time.Minute, MaxSessions: 1000,
	}
	if c.ListenTLS != "" {
		cfg.TLSAddr = c.ListenTLS
	}
	if c.MaxSize < 1 {
		return usagef("--max-size: %d is not a number of octets from 1 on", c.MaxSize)
	}
	if c.Keep < 1 {
		return usagef("--keep: %d is not a number of messages from 1 on", c.Keep)
	}
	for flag, address := range map[string]string{"--listen": c.Listen, "--listen-tls": c.ListenTLS, "--http": c.HTTP} {
		if !isAddress(address) && (address != "" || flag == "--listen") {
			return usagef("%s: %q is no address; write for example 127.0.0.1:1025", flag, address)
		}
	}
	for _, u := range c.User {
		name, password, ok := strings.Cut(u, ":")
		if !ok || name == "" || password == "" {
			return usagef("--user: write NAME:PASSWORD")
		}
		if cfg.Users == nil {
			cfg.Users = make(map[string]string)
		}
		cfg.Users[name], cfg.RequireAuth = password, true
	}
	for _, s := range c.Chaos {
		rule, err := inbox.ParseChaos(s)
		if err != nil {
			return usagef("--chaos %w", err)
		}
		cfg.Rules = append(cfg.Rules, rule)
	}
	arrived := make(chan inbox.Message, 64)
	store, err := inbox.NewStore(c.Keep, func(m inbox.Message) { arrived <- m })
	if err != nil {
		return fmt.Errorf("there is no place to keep mail: %w; TMPDIR names another folder", err)
	}
	cfg.Content = func(session *smtptest.Session, e smtptest.Envelope) (io.WriteCloser, error) {
		w, err := store.Receive(session, e)
		if err != nil {
			complain(p, cannotKeep(err))
			return nil, err
		}
		return &audibleWriter{w, p}, nil
	}
	server, err := smtptest.Start(cfg)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = fmt.Errorf("%w; --listen and --listen-tls name other addresses, port 0 picks a free one", op)
		}
		return errors.Join(err, store.Close())
	}
	err = c.serve(p, store, server, arrived)
	return errors.Join(err, store.Close())
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func (c *inboxCommand) serve(p *program, store *inbox.Store, server *smtptest.Server, arrived chan inbox.Message) error {
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		for m := range arrived {
			printArrival(p, store, m)
		}
	}()
	pages, err := c.servePages(store)
	if err == nil && c.CAOut != "" {
		if err = os.WriteFile(c.CAOut, server.CAPEM(), 0o644); err != nil {
			err = fmt.Errorf("--ca-out: %w", err)
		}
	}
	if err == nil {
		c.announce(p, server, pages)
		select {
		case <-p.ctx.Done():
		case err = <-pages.failed:
		}
	}
	closing, cancel := context.WithTimeout(context.Background(), closingTime)
	defer cancel()
	shutdownErr := server.Shutdown(closing)
	if errors.Is(shutdownErr, context.DeadlineExceeded) {
		shutdownErr = nil // sessions that would not end were cut off
	}
	close(arrived)
	<-printed
	return errors.Join(err, shutdownErr, pages.stop(closing))
}

func (c *inboxCommand) announce(p *program, server *smtptest.Server, pages *pageServer) {
	fmt.Fprintf(p.stdout, "smtp   smtp://%s?tls=none  (or STARTTLS, with --ca-file)\n", server.Addr())
	if a := server.TLSAddr(); a != "" {
		fmt.Fprintf(p.stdout, "smtps  smtps://%s\n", a)
	}
	if pages.listener != nil {
		fmt.Fprintf(p.stdout, "pages  http://%s/\n", pages.listener.Addr())
	}
	if c.CAOut != "" {
		fmt.Fprintf(p.stdout, "ca     %s\n", c.CAOut)
	}
	fmt.Fprintln(p.stdout, "Waiting for mail. Everything is accepted, nothing is sent on. Ctrl-C ends.")
}

// pageServer serves the inbox's pages.
type pageServer struct {
	listener net.Listener
	server   *http.Server
	failed   chan error
	done     chan struct{}
}

func (c *inboxCommand) servePages(store *inbox.Store) (*pageServer, error) {
	s := &pageServer{failed: make(chan error, 1), done: make(chan struct{})}
	if c.HTTP == "" {
		close(s.done)
		return s, nil
	}
	handler, err := store.Handler()
	if err == nil {
		s.listener, err = net.Listen("tcp", c.HTTP)
	}
	if err != nil {
		close(s.done)
		return s, fmt.Errorf("--http: %w; name another address, port 0 picks a free one", err)
	}
	s.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return s, nil
}

func (s *pageServer) stop(ctx context.Context) error {
	var err error
	if s.server != nil {
		if err = s.server.Shutdown(ctx); err != nil {
			err = s.server.Close()
		}
	}
	<-s.done
	return err
}

// printArrival tells what came in: envelope, subject and parts.
func printArrival(p *program, store *inbox.Store, m inbox.Message) {
	fmt.Fprintf(p.stdout, "\n%s  message %d, %d octets\n", m.ReceivedAt.Format("15:04:05"), m.ID, m.Size)
	fmt.Fprintf(p.stdout, "  MAIL FROM  <%s>\n", printable(m.MailFrom))
	for _, r := range m.RcptTo {
		fmt.Fprintf(p.stdout, "  RCPT TO    <%s>\n", printable(r))
	}
	fmt.Fprintf(p.stdout, "  From       %s\n  Subject    %s\n", printable(m.From), printable(m.Subject))
	view, err := store.View(m.ID)
	if err != nil {
		return // it has made room for newer ones meanwhile
	}
	for _, part := range view.Parts {
		fmt.Fprintf(p.stdout, "  part %d     %s, %d octets", part.Index, part.MediaType, part.Size)
		if part.Filename != "" {
			fmt.Fprintf(p.stdout, ", %s", printable(part.Filename))
		}
		fmt.Fprintln(p.stdout)
	}
}

// audibleWriter tells the person at the terminal what the client is only told as 451.
type audibleWriter struct {
	io.WriteCloser
	p *program
}

func (w *audibleWriter) Write(b []byte) (int, error) {
	n, err := w.WriteCloser.Write(b)
	if err != nil {
		complain(w.p, cannotKeep(err))
	}
	return n, err
}

func (w *audibleWriter) Close() error {
	err := w.WriteCloser.Close()
	if err != nil {
		complain(w.p, cannotKeep(err))
	}
	return err
}

// CloseWithError forgets the message: its content stayed incomplete.
func (w *audibleWriter) CloseWithError(err error) error {
	if c, ok := w.WriteCloser.(interface{ CloseWithError(error) error }); ok {
		return c.CloseWithError(err)
	}
	return w.WriteCloser.Close()
}

func cannotKeep(err error) error {
	return fmt.Errorf("a message could not be kept and was refused with 451: %w; make room, or set TMPDIR to a folder that has some", err)
}
