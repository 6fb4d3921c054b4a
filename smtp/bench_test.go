package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
)

// sink is the least server that can take mail: it accepts everything and
// looks at nothing, so that a benchmark measures the client.
func sink(tb testing.TB, without ...string) (addr *net.TCPAddr, pool *smtptest.Server) {
	tb.Helper()
	ca := smtptest.StartT(tb, smtptest.Config{})
	cert, err := ca.ClientCertificate("localhost")
	if err != nil {
		tb.Fatal(err)
	}
	_ = cert
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				sinkSession(c, nil, without)
			})
		}
	})
	tb.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr), ca
}

func sinkSession(c net.Conn, _ *tls.Config, without []string) {
	r := bufio.NewReaderSize(c, 64<<10)
	w := bufio.NewWriter(c)
	offer := "250-sink\r\n"
	for _, e := range []string{"PIPELINING", "CHUNKING", "8BITMIME"} {
		if !strings.Contains(strings.Join(without, " "), e) {
			offer += "250-" + e + "\r\n"
		}
	}
	offer += "250 SIZE\r\n"
	w.WriteString("220 sink\r\n")
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch string(line[:4]) {
		case "EHLO":
			w.WriteString(offer)
		case "BDAT":
			f := bytes.Fields(line)
			n, _ := strconv.Atoi(string(f[1]))
			if _, err := r.Discard(n); err != nil {
				return
			}
			w.WriteString("250 2.0.0 ok\r\n")
		case "DATA":
			w.WriteString("354 go\r\n")
			w.Flush()
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if string(line) == ".\r\n" {
					break
				}
			}
			w.WriteString("250 2.0.0 ok\r\n")
		case "QUIT":
			w.WriteString("221 2.0.0 bye\r\n")
			w.Flush()
			return
		default:
			w.WriteString("250 2.0.0 ok\r\n")
		}
	}
}

func message(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: a@example.com\r\nSubject: x\r\n\r\n")
	for b.Len() < size {
		b.WriteString("the quick brown fox jumps over the lazy dog and goes on for a while\r\n")
	}
	return b.Bytes()
}

func BenchmarkSend(b *testing.B) {
	for _, size := range []int{2 << 10, 50 << 10, 1 << 20} {
		for _, without := range []string{"", "CHUNKING", "PIPELINING CHUNKING"} {
			b.Run(fmt.Sprintf("%dK/without=%s", size>>10, strings.ReplaceAll(without, " ", ",")), func(b *testing.B) {
				addr, _ := sink(b, without)
				d, err := smtp.NewDialer(smtp.Config{Host: "127.0.0.1", Port: addr.Port, TLSMode: smtp.TLSNone})
				if err != nil {
					b.Fatal(err)
				}
				c, err := d.Dial(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				env := &smtp.Envelope{MailFrom: "a@example.com", RcptTo: []smtp.Recipient{{Address: "b@example.com"}}}
				content := smtp.Bytes(message(size))
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				b.ReportAllocs()
				b.SetBytes(content.Size())
				for b.Loop() {
					if _, err := c.Send(ctx, env, content); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

var _ = io.EOF
