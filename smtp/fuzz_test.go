package smtp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzReply: whatever arrives in whatever pieces, the parser stays within its
// bounds, and how the octets are cut makes no difference.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"220 hello\r\n", "250-a\r\n250-b\r\n250 2.0.0 c\r\n250 d\r\n", "250\r\n", "421 4.4.2 bye\r\n", "250-\r\n250 \r\n",
		"250-5.1.1 x\r\n251 x\r\n", "2", "250 x\n\r\n", "550 5.1.1 \xff\x00\x1b\r\n", strings.Repeat("250-x\r\n", 101), strings.Repeat("1", 13000),
	} {
		f.Add([]byte(s), 1)
		f.Add([]byte(s), 1000)
	}
	parse := func(b []byte, step int) (q []Reply, err error) {
		var p parser
		for len(b) > 0 && err == nil {
			n := copy(p.space(), b[:min(step, len(b))])
			b = b[n:]
			q, err = p.replies(q, n)
			if len(p.buf) > maxReplyOctets+maxReplyLine || len(p.lines) > maxReplyLines {
				panic("unbounded")
			}
		}
		return q, err
	}
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		step = max(1, min(step, 5000))
		q, err := parse(b, step)
		again, err2 := parse(b, 1<<16)
		if len(q) != len(again) || (err == nil) != (err2 == nil) {
			t.Fatalf("%d replies, %v in pieces of %d; %d, %v in one", len(q), err, step, len(again), err2)
		}
		for i, r := range q {
			if r.String() != again[i].String() || len(r.Lines) == 0 || len(r.Lines) > maxReplyLines {
				t.Fatalf("%q and %q", r, again[i])
			}
			if r.Code < 200 || r.Code > 599 || !r.Enhanced.IsZero() && r.Enhanced[0] != r.Code/100 {
				t.Fatalf("%+v", r)
			}
			if s := r.String(); !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00\x1b") {
				t.Fatalf("%q", s)
			}
			if e := r.Enhanced; !e.IsZero() {
				if p, err := ParseEnhancedCode(e.String()); err != nil || p != e {
					t.Fatalf("%v: %v, %v", e, p, err)
				}
			}
		}
	})
}

// The gate that every command passes: whatever came this far, no line break
// gets out.
func TestLineGate(t *testing.T) {
	f := &flight{buf: []byte("NOOP\r\n")}
	for _, bad := range []string{"\r", "\n", "\x00", "a\r\nDATA", "\n."} {
		if err := f.put(expectMail, "MAIL FROM:<", bad, ">"); !errors.Is(err, errLine) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if string(f.buf) != "NOOP\r\n" || len(f.owed) != 0 {
		t.Errorf("what was refused stays: %q", f.buf)
	}
	d, err := NewDialer(Config{Host: "localhost", TLSMode: TLSNone})
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	server.Close()
	c := newConn(d, client)
	if _, err := c.command(PhaseMail, "X", expectMail, "X\nY"); !IsPermanent(err) {
		t.Errorf("%v", err)
	}
	if _, err := c.secretCommand("X\rY", "x"); !IsRelayFault(err) {
		t.Errorf("%v", err)
	}
}

// FuzzEHLO: no reply to EHLO confuses the list of extensions.
func FuzzEHLO(f *testing.F) {
	for _, s := range []string{"x\nPIPELINING\nSIZE 100\nAUTH PLAIN LOGIN", "x\nAUTH=LOGIN\nauth plain", "x\nSIZE -1", "x\nSIZE 99999999999999999999", "", "x\n \n\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := parseEHLO(strings.Split(s, "\n"))
		if e.maxSize < 0 || e.maxSize > 0 && !e.size {
			t.Fatal("SIZE")
		}
		for k := range e.all() {
			if _, ok := e.lookup(strings.ToLower(k)); !ok && strings.ToUpper(strings.ToLower(k)) == k {
				t.Fatalf("%q is listed and not found", k)
			}
		}
		for _, m := range e.mechanisms() {
			if m == "" || strings.ContainsAny(m, " \t") {
				t.Fatalf("mechanism %q", m)
			}
		}
	})
}

// FuzzDotStuff: what goes over the wire, cut however, is ended by its own dot
// and no earlier one, and comes back the same from an independent reader.
func FuzzDotStuff(f *testing.F) {
	for _, s := range []string{"a\r\n", ".\r\n", "..\r\n.\r\n", "a\r\n.\r\nb\r\n", "a\n.\nb\r\n", "a\r.\r\n", "\r\n\r\n", "a", ".a\r\n.", "\n", "\xff\r\n"} {
		f.Add([]byte(s), 1, true)
		f.Add([]byte(s), 100, false)
	}
	d, err := NewDialer(Config{Host: "localhost"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, step int, eightBit bool) {
		client, server := net.Pipe()
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(server)
			got <- all
		}()
		c := newConn(d, client)
		fl := &flight{}
		w := &contentWriter{c: c, f: fl, framing: frameDot, size: int64(len(b)), eightBit: eightBit, prevLF: true}
		step = max(1, step)
		var err error
		for rest := b; len(rest) > 0 && err == nil; {
			n := min(step, len(rest))
			_, err = w.Write(rest[:n])
			rest = rest[n:]
		}
		if err == nil {
			err = w.complete()
		}
		if err == nil {
			fl.buf = append(fl.buf, ".\r\n"...)
			err = w.flush(true)
		}
		client.Close()
		wire := <-got
		clean := len(b) > 0 && bytes.HasSuffix(b, []byte("\r\n")) && !bytes.ContainsAny(bytes.ReplaceAll(b, []byte("\r\n"), nil), "\r\n")
		if ok := clean && (eightBit || ascii(b)); ok != (err == nil) {
			t.Fatalf("%q: %v", b, err)
		}
		if err != nil {
			if len(b) <= chunk && len(wire) > 0 {
				t.Fatalf("%q: octets left: %q", b, wire)
			}
			return
		}
		r := bufio.NewReader(bytes.NewReader(wire))
		back, err := io.ReadAll(textproto.NewReader(r).DotReader())
		if want := bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")); err != nil || !bytes.Equal(back, want) {
			t.Fatalf("%q came back as %q, %v", want, back, err)
		}
		if r.Buffered() > 0 {
			t.Fatalf("%q ends early", wire)
		}
	})
}

// FuzzConversation: a server that says anything at all neither hangs nor
// crashes the client, and nothing is sent without a 2yz to the content.
func FuzzConversation(f *testing.F) {
	ehlo := "220 x\r\n250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
	for _, s := range []string{
		ehlo + "250 ok\r\n250 ok\r\n250 ok\r\n",
		ehlo + "250 ok\r\n550 5.1.1 no\r\n554 no\r\n",
		ehlo + "550 no\r\n503 no\r\n503 no\r\n250 rset\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		ehlo + "250 ok\r\n421 bye\r\n",
		ehlo + "250 ok\r\n354 ok\r\n354 ok\r\n",
		"220 x\r\n250-x\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",
		"220 x\r\n250-x\r\n250 PIPELINING\r\n250 ok\r\n550 no\r\n354 go\r\n250 ok\r\n221 bye\r\n",
		"220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",
		"220 x\r\n500 x\r\n250 x\r\n250 ok\r\n452 ok\r\n354 go\r\n250 ok\r\n",
		"220 x\r\n250-x\r\n250 SIZE 10\r\n",
		"554 no\r\n", "220-x\r\n", "\x00", "",
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(50))
	}
	content := Bytes([]byte("a: b\r\n\r\n.\r\n"))
	large := Bytes(bytes.Repeat([]byte("a: b\r\n"), 30_000))
	env := &Envelope{MailFrom: "a@example.com", RcptTo: []Recipient{{Address: "b@example.com"}, {Address: "c@example.com"}}}
	f.Fuzz(func(t *testing.T, said []byte, step uint8) {
		client, server := net.Pipe()
		d, err := NewDialer(Config{Host: "localhost", TLSMode: TLSNone, Strict: step%2 == 0, Timeouts: Timeouts{
			Greeting: 5 * time.Second, Hello: 5 * time.Second, Mail: 5 * time.Second, Rcpt: 5 * time.Second,
			Data: 5 * time.Second, Block: 5 * time.Second, Final: 5 * time.Second, Quit: 5 * time.Second,
		}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		heard := make(chan struct{})
		go func() { // hears everything, at once
			defer close(heard)
			_, _ = io.Copy(io.Discard, server)
		}()
		go func() { // says its piece, a reply only when it is wanted or not
			defer close(done)
			defer server.Close()
			for b := said; len(b) > 0; {
				n := min(int(step)+1, len(b))
				if _, err := server.Write(b[:n]); err != nil {
					return
				}
				b = b[n:]
			}
		}()
		defer func() { server.Close(); <-done; <-heard }()
		c, err := d.Start(context.Background(), client)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("%T", err)
			}
			return
		}
		defer c.Close()
		for _, content := range []Content{content, large, content} {
			out, err := c.Send(context.Background(), env, content)
			sent := out.Sent()
			if (err == nil) != (sent > 0) || len(out.Recipients) != 2 {
				t.Fatalf("%v, %d sent", err, sent)
			}
			if sent > 0 && (!out.Content.IsPositive() || !out.Mail.IsPositive()) {
				t.Fatalf("sent after %v, %v", out.Mail, out.Content)
			}
			for _, r := range out.Recipients {
				e, ok := errors.AsType[*Error](r.Err)
				if !ok && r.Err != nil || ok && e.Class == "" {
					t.Fatalf("%#v", r.Err)
				}
			}
			if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
				t.Fatalf("%q", err)
			}
		}
		_ = c.Quit(context.Background())
		if !c.Closed() {
			t.Fatal("open after QUIT")
		}
	})
}
