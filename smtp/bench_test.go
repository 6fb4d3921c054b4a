package smtp_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp"
)

// sink is the least server that can take mail: it accepts everything and
// looks at nothing, so that a benchmark measures the client. It gives a
// configuration to reach it.
func sink(tb testing.TB, mode smtp.TLSMode, without ...string) smtp.Config {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	cert := certificate(tb)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if mode == smtp.TLSImplicit {
					c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
				}
				sinkSession(c, without)
			})
		}
	})
	tb.Cleanup(func() { l.Close(); wg.Wait() })
	return smtp.Config{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLSMode: mode, DangerouslySkipTLSVerify: true}
}

// certificate makes one that signs itself.
func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func sinkSession(c net.Conn, without []string) {
	r := bufio.NewReaderSize(c, 64<<10)
	w := bufio.NewWriter(c)
	offer := "250-sink\r\n"
	for _, e := range []string{"PIPELINING", "CHUNKING", "8BITMIME"} {
		if !strings.Contains(strings.Join(without, " "), e) {
			offer += "250-" + e + "\r\n"
		}
	}
	offer += "250 SIZE\r\n"
	say := func(s string) { _, _ = w.WriteString(s) } // Flush gives the error
	say("220 sink\r\n")
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
			say(offer)
		case "BDAT":
			f := bytes.Fields(line)
			n, _ := strconv.Atoi(string(f[1]))
			if _, err := r.Discard(n); err != nil {
				return
			}
			say("250 2.0.0 ok\r\n")
		case "DATA":
			say("354 go\r\n")
			if w.Flush() != nil {
				return
			}
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if string(line) == ".\r\n" {
					break
				}
			}
			say("250 2.0.0 ok\r\n")
		case "QUIT":
			say("221 2.0.0 bye\r\n")
			_ = w.Flush()
			return
		default:
			say("250 2.0.0 ok\r\n")
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

func benchmarkSend(b *testing.B, cfg smtp.Config, size, conns int) {
	d := newDialer(b, cfg)
	env := &smtp.Envelope{MailFrom: "a@example.com", RcptTo: []smtp.Recipient{{Address: "b@example.com"}}}
	content := smtp.Bytes(message(size))
	var open []*smtp.Conn
	for range conns {
		c, err := d.Dial(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	b.ReportAllocs()
	b.SetBytes(content.Size())
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, c := range open {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for range (b.N + i) / conns {
				if _, err := c.Send(ctx, env, content); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSend(b *testing.B) {
	for _, mode := range []smtp.TLSMode{smtp.TLSNone, smtp.TLSImplicit} {
		for _, size := range []int{2 << 10, 50 << 10, 4 << 20} {
			for _, conns := range []int{1, 8} {
				b.Run(fmt.Sprintf("tls=%s/size=%dK/conns=%d", mode, size>>10, conns), func(b *testing.B) {
					benchmarkSend(b, sink(b, mode), size, conns)
				})
			}
		}
	}
}

// BenchmarkSendOld is for servers without CHUNKING, and without PIPELINING.
func BenchmarkSendOld(b *testing.B) {
	for _, without := range []string{"CHUNKING", "CHUNKING PIPELINING"} {
		for _, size := range []int{2 << 10, 4 << 20} {
			b.Run(fmt.Sprintf("without=%s/size=%dK", strings.ReplaceAll(without, " ", "+"), size>>10), func(b *testing.B) {
				benchmarkSend(b, sink(b, smtp.TLSNone, without), size, 1)
			})
		}
	}
}
