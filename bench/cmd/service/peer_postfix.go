package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/smtp"
)

// postfixMain is main.cf: as shipped but for what keeps it apart from the machine's own.
const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = %[1]s/mail.log
maillog_file_prefixes = %[1]s
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = bench.example.net
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
relayhost = %[2]s
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_relay_restrictions = permit_mynetworks, reject
`

// postfixMaster is master.cf: the services of the shipped one that take part, out of the chroot.
const postfixMaster = `%s inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix starts an instance of its own that sends everything to the sink.
func startPostfix(ctx context.Context, b *bencher) (_ *stack, err error) {
	// Where user postfix can enter, on a real disk.
	p, err := newPeerLab(b, "/var/tmp")
	if err != nil {
		return nil, err
	}
	var senders smtpCallers
	stop := func() error { return errors.Join(senders.close(), p.stop()) }
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	if err := postfixTree(p.dir); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(p.sink.SMTP)
	if err != nil {
		return nil, err
	}
	etc := filepath.Join(p.dir, "etc")
	if err := os.WriteFile(filepath.Join(etc, "main.cf"), fmt.Appendf(nil, postfixMain, p.dir, "["+host+"]:"+port), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(etc, "master.cf"), fmt.Appendf(nil, postfixMaster, address), 0o644); err != nil {
		return nil, err
	}
	// Postfix does not trust files that were just written: it waits a second before it uses them.
	old := time.Now().Add(-time.Minute)
	for _, name := range []string{"main.cf", "master.cf"} {
		if err := os.Chtimes(filepath.Join(etc, name), old, old); err != nil {
			return nil, err
		}
	}
	// -d keeps it a child of this process.
	master, err := p.start("postfix", []string{"MAIL_CONFIG=" + etc}, "/usr/lib/postfix/sbin/master", "-d", "-c", etc)
	if err != nil {
		return nil, err
	}
	if err := until(ctx, master, listens(address)); err != nil {
		return nil, err
	}
	if err := senders.open(ctx, address); err != nil {
		return nil, err
	}
	return &stack{
		send:  senders.send,
		sink:  p.sink,
		users: users{useNode: {master.pid()}, useSink: {p.sink.PID()}, useLoad: {os.Getpid()}},
		stop:  stop,
	}, nil
}

// postfixTree makes the directories as Postfix wants them.
func postfixTree(dir string) error {
	u, err := user.Lookup("postfix")
	if err != nil {
		return fmt.Errorf("the package postfix is missing, or measure without it: -peers sqlite,postgresql,bullmq: %w", err)
	}
	g, err := user.LookupGroup("postdrop")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	drop, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	make := func(name string, mode os.FileMode, uid, gid int) error {
		path := filepath.Join(dir, name)
		return errors.Join(os.MkdirAll(path, 0o755), os.Chown(path, uid, gid), os.Chmod(path, mode))
	}
	faults := []error{
		os.Chmod(dir, 0o755),
		make("etc", 0o755, 0, 0), make("data", 0o700, uid, 0), make("queue", 0o755, 0, 0), make("queue/pid", 0o755, 0, 0),
		make("queue/public", 0o710|os.ModeSetgid, uid, drop), make("queue/maildrop", 0o730|os.ModeSticky, uid, drop),
	}
	for _, name := range strings.Fields("active bounce corrupt defer deferred flush hold incoming private saved trace") {
		faults = append(faults, make("queue/"+name, 0o700, uid, 0))
	}
	return errors.Join(faults...)
}

// smtpCallers hand messages over by SMTP, each over a connection that it keeps. They write a message made beforehand,
// with pipelining, so that it is not the load that is slow.
type smtpCallers struct {
	conns []*smtp.Conn
	text  []byte
}

func (s *smtpCallers) open(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	dialer, err := smtp.NewDialer(smtp.Config{Host: host, Port: number, TLSMode: smtp.TLSNone, LocalName: "bench.example.com"})
	if err != nil {
		return err
	}
	for range peerCallers {
		c, err := dialer.Dial(ctx)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, c)
	}
	c := letterOf()
	from, err := mail.ParseAddress(c.from)
	if err != nil {
		return err
	}
	m := &mail.Message{
		From: from, To: mail.Addrs(c.to), Subject: c.subject, Text: c.text, HTML: c.html,
		Header: []mail.Field{{Name: "X-Bench-Id", Value: idPlace}},
	}
	composed, err := m.Compose(nil)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	_, err = composed.WriteTo(&text)
	s.text = text.Bytes()
	return err
}

// idPlace stands where the id goes: ids are as long.
const idPlace = "run-0000000000000000"

func (s *smtpCallers) close() error {
	var faults []error
	for _, c := range s.conns {
		faults = append(faults, c.Close())
	}
	return errors.Join(faults...)
}

func (s *smtpCallers) send(prefix string) send {
	env := &smtp.Envelope{MailFrom: "shop@example.com", RcptTo: []smtp.Recipient{{Address: "zoe@example.net"}}}
	return func(ctx context.Context, worker int, n int64) error {
		id := fmt.Sprintf("%s%0*d", prefix, len(idPlace)-len(prefix), n)
		_, err := s.conns[worker].Send(ctx, env, smtp.Bytes(bytes.Replace(s.text, []byte(idPlace), []byte(id), 1)))
		return err
	}
}
