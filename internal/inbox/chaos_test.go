package inbox_test

import (
	"context"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/smtp/smtptest"
)

func TestParseChaos(t *testing.T) {
	for _, c := range []struct {
		text, command, match string
		nth                  int
		chance               float64
	}{
		{"rcpt/bob@=550 5.1.1 no such user", "RCPT", "bob@", 0, 0},
		{"rcpt#1=451 4.7.1 come again", "RCPT", "", 1, 0},
		{"content%5=drop", "CONTENT", "", 0, 0.05},
		{"content/ann@#3%12.5=lost", "CONTENT", "ann@", 3, 0.125},
		{"content%100=LOST", "CONTENT", "", 0, 1},
		{"mail=delay 3s", "MAIL", "", 0, 0},
		{"greeting=421 4.3.2 too busy", "GREETING", "", 0, 0},
		{"greeting=421", "GREETING", "", 0, 0},
		{"auth=535 5.7.8 wrong password", "AUTH", "", 0, 0},
		{" EHLO =502", "EHLO", "", 0, 0},
		{"connect=reset", "CONNECT", "", 0, 0},
		{"data=silence", "DATA", "", 0, 0},
		{"bdat=garbage", "BDAT", "", 0, 0},
		{"rcpt/a=b", "", "", 0, 0},
		{"", "", "", 0, 0},
		{"rcpt", "", "", 0, 0},
		{"helo=drop", "", "", 0, 0},
		{"rcpt=", "", "", 0, 0},
		{"rcpt=explode", "", "", 0, 0},
		{"rcpt=drop now", "", "", 0, 0},
		{"rcpt=lost", "", "", 0, 0},
		{"rcpt=199 x", "", "", 0, 0},
		{"rcpt=0550 x", "", "", 0, 0},
		{"rcpt=600 x", "", "", 0, 0},
		{"rcpt=+550 x", "", "", 0, 0},
		{"rcpt#0=drop", "", "", 0, 0},
		{"rcpt#x=drop", "", "", 0, 0},
		{"rcpt%0=drop", "", "", 0, 0},
		{"rcpt%101=drop", "", "", 0, 0},
		{"rcpt%NaN=drop", "", "", 0, 0},
		{"rcpt%-1=drop", "", "", 0, 0},
		{"rcpt=delay", "", "", 0, 0},
		{"rcpt=delay -3s", "", "", 0, 0},
		{"rcpt=delay soon", "", "", 0, 0},
		{"rcpt=550 a\r\n250 b", "", "", 0, 0},
	} {
		r, err := inbox.ParseChaos(c.text)
		if c.command == "" {
			if err == nil {
				t.Errorf("%q was taken as %+v", c.text, r)
			} else if msg := err.Error(); strings.ContainsAny(msg, "\r\n") || !strings.Contains(msg, "write for example") {
				t.Errorf("%q: the error is no clear line: %q", c.text, msg)
			}
			continue
		}
		if err != nil || r.Command != c.command || r.Match != c.match || r.Nth != c.nth || r.Chance != c.chance {
			t.Errorf("%q: got %+v, %v", c.text, r, err)
		}
	}
}

// TestChaosHappens asks a server that was told to misbehave.
func TestChaosHappens(t *testing.T) {
	for text, want := range map[string]string{
		"mail=451 4.7.1 come again": "451 4.7.1 come again",
		"mail=550":                  "550 as told",
		"mail=421 4.3.2 too busy":   "421 4.3.2 too busy",
		"mail=delay 1ms":            "250 ",
		"mail=drop":                 "lost",
		"mail=reset":                "lost",
		"mail#2=550 second":         "250 ",
		"mail/ann@=550 ann":         "550 ann",
		"mail/bob@=550 bob":         "250 ",
		"mail=silence":              "silent",
		"mail=garbage":              "garbage",
	} {
		t.Run(text, func(t *testing.T) {
			rule, err := inbox.ParseChaos(text)
			if err != nil {
				t.Fatal(err)
			}
			srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{rule}})
			nc, err := net.Dial("tcp", srv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			c := textproto.NewConn(nc)
			for _, line := range []string{"", "EHLO client.example", "MAIL FROM:<ann@example.com>"} {
				if line != "" {
					if err := c.PrintfLine("%s", line); err != nil {
						t.Fatal(err)
					}
				}
				if strings.HasPrefix(line, "MAIL") {
					break
				}
				if _, _, err := c.ReadResponse(2); err != nil {
					t.Fatal(err)
				}
			}
			if want == "silent" {
				// What is not answered is read: the server knows the command.
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := srv.WaitCommand(ctx, "MAIL", 1); err != nil {
					t.Fatal(err)
				}
				return
			}
			line, err := c.ReadLine()
			switch {
			case want == "lost":
				if err == nil {
					t.Errorf("got %q from a connection that was to be lost", line)
				}
			case want == "garbage":
				if err != nil || strings.HasPrefix(line, "250") {
					t.Errorf("got %q, %v", line, err)
				}
			case err != nil || !strings.HasPrefix(line, want):
				t.Errorf("got %q, %v; want %q", line, err, want)
			}
		})
	}
}

func FuzzParseChaos(f *testing.F) {
	for _, s := range []string{"rcpt/bob@#2%5=550 5.1.1 no", "content=lost", "mail=delay 1h", "x=y", "greeting=421", "%=#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := inbox.ParseChaos(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("%q: error of several lines: %q", s, err)
			}
			return
		}
		// Whatever was understood the server must take.
		if _, err := smtptest.New(smtptest.Config{Rules: []smtptest.Rule{r}}); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}
