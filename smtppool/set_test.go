package smtppool_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/sasl"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

func newSet(t *testing.T, cfg smtppool.SetConfig) *smtppool.Set {
	t.Helper()
	set, err := smtppool.NewSet(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return set
}

func TestSetKey(t *testing.T) {
	t.Parallel()
	set := newSet(t, smtppool.SetConfig{})
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	token := func(context.Context, bool) (string, error) { return "t", nil }
	bearer := &sasl.Credentials{Username: "u", Token: token}
	base := func() smtp.Config {
		return smtp.Config{Host: "relay.example.com", Auth: &sasl.Credentials{Username: "u", Password: "p"}}
	}
	with := func(change func(c *smtp.Config)) smtp.Config {
		c := base()
		change(&c)
		return c
	}
	seen := map[*smtppool.Pool]string{}
	for _, test := range []struct {
		name string
		same bool // as the one before
		cfg  smtp.Config
	}{
		{"base", false, base()},
		{"equal values", true, base()},
		{"case of the host", true, with(func(c *smtp.Config) { c.Host = "RELAY.example.COM" })},
		{"mode said", true, with(func(c *smtp.Config) { c.TLSMode = smtp.TLSStartTLS })},
		{"port said", true, with(func(c *smtp.Config) { c.Port = 587 })},
		{"host", false, with(func(c *smtp.Config) { c.Host = "other.example.com" })},
		{"port", false, with(func(c *smtp.Config) { c.Port = 588 })},
		{"mode", false, with(func(c *smtp.Config) { c.TLSMode = smtp.TLSImplicit; c.Port = 587 })},
		{"no credentials", false, with(func(c *smtp.Config) { c.Auth = nil })},
		{"user", false, with(func(c *smtp.Config) { c.Auth.Username = "v" })},
		{"password", false, with(func(c *smtp.Config) { c.Auth.Password = "q" })},
		{"shifted", false, with(func(c *smtp.Config) { c.Auth.Username, c.Auth.Password = "up", "p" })},
		{"shifted back", false, with(func(c *smtp.Config) { c.Auth.Username, c.Auth.Password = "u", "pp" })},
		{"identity", false, with(func(c *smtp.Config) { c.Auth.Identity = "i" })},
		{"mechanisms", false, with(func(c *smtp.Config) { c.Auth.Mechanisms = []string{"plain"} })},
		{"mechanisms' case", true, with(func(c *smtp.Config) { c.Auth.Mechanisms = []string{"PLAIN"} })},
		{"token", false, with(func(c *smtp.Config) { c.Auth = bearer })},
		{"same token", true, with(func(c *smtp.Config) { c.Auth = bearer })},
		{"another token", false, with(func(c *smtp.Config) { c.Auth = &sasl.Credentials{Username: "u", Token: token} })},
		{"TLS", false, with(func(c *smtp.Config) { c.TLSConfig = tlsConfig })},
		{"same TLS", true, with(func(c *smtp.Config) { c.TLSConfig = tlsConfig })},
		{"another TLS", false, with(func(c *smtp.Config) { c.TLSConfig = tlsConfig.Clone() })},
		{"strict", false, with(func(c *smtp.Config) { c.Strict = true })},
		{"no verification", false, with(func(c *smtp.Config) { c.DangerouslySkipTLSVerify = true })},
		{"local name", false, with(func(c *smtp.Config) { c.LocalName = "a.example.com" })},
		{"timeouts", false, with(func(c *smtp.Config) { c.Timeouts.Quit = time.Hour })},
	} {
		p, err := set.Pool(test.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if other, known := seen[p]; known != test.same {
			t.Errorf("%s: pool of %q, known %t", test.name, other, known)
		}
		seen[p] = test.name
	}
	if set.Len() != len(seen) {
		t.Errorf("%d pools, %d seen", set.Len(), len(seen))
	}
	if _, err := set.Pool(smtp.Config{Auth: &sasl.Credentials{Username: "u", Password: "hunter2\x00"}}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("faults: %v", err)
	}
	if _, err := smtppool.NewSet(smtppool.SetConfig{Pool: smtppool.Config{MaxConns: -1}}); err == nil {
		t.Error("faults of the pool's configuration were passed over")
	}
}

// TestSetSeparatesUsers: many users on one relay; each message goes out under its own user.
func TestSetSeparatesUsers(t *testing.T) {
	t.Parallel()
	users := map[string]string{}
	for i := range 5 {
		users[fmt.Sprintf("user%d", i)] = fmt.Sprintf("pass%d", i)
	}
	s := smtptest.StartT(t, smtptest.Config{Users: users, RequireAuth: true})
	set := newSet(t, smtppool.SetConfig{Pool: smtppool.Config{MaxConns: 2}})
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			user := fmt.Sprintf("user%d", i%5)
			p, err := set.Pool(smtp.Config{
				Host: s.Host(), Port: s.Port(), TLSMode: smtp.TLSNone, DangerouslyAllowPlaintextAuth: true,
				Auth: &sasl.Credentials{Username: user, Password: users[user]},
			})
			if err != nil {
				t.Error(err)
				return
			}
			env := envelope("bob@example.com")
			env.MailFrom = user + "@example.com"
			if _, err := p.Send(t.Context(), env, content(user)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got := s.Transactions()
	if len(got) != 50 {
		t.Errorf("%d messages", len(got))
	}
	for _, tr := range got {
		if tr.MailFrom.Address != tr.User+"@example.com" {
			t.Errorf("a message of %s went out as %s", tr.MailFrom.Address, tr.User)
		}
	}
	st := set.Stats()
	if set.Len() != 5 || st.MaxConns != 10 || st.Open > 10 || st.Dialled+st.Reused < 50 {
		t.Errorf("%d pools, %+v", set.Len(), st)
	}
	if err := set.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := set.Pool(smtp.Config{Host: s.Host()}); !errors.Is(err, smtppool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSetDropsUnused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := smtptest.NewT(t, smtptest.Config{})
		set := newSet(t, smtppool.SetConfig{Pool: smtppool.Config{MaxIdleTime: time.Minute}, MaxUnused: 10 * time.Minute})
		pool := func(host string) *smtppool.Pool {
			p, err := set.Pool(smtp.Config{Host: host, TLSMode: smtp.TLSNone, Dial: s.PipeDial})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		old := pool("old.example.com")
		send(t, old, "x")
		busy := pool("busy.example.com")
		held := get(t, busy)
		pass(9 * time.Minute)
		if pool("old.example.com") != old {
			t.Error("dropped too early")
		}
		pass(11 * time.Minute)
		if pool("new.example.com"); set.Len() != 2 {
			t.Errorf("%d pools", set.Len())
		}
		if _, err := old.Get(t.Context()); !errors.Is(err, smtppool.ErrClosed) {
			t.Errorf("the dropped pool: %v", err)
		}
		if pool("busy.example.com") != busy {
			t.Error("a pool with a borrowed connection was dropped")
		}
		held.Release()
		if pool("old.example.com") == old {
			t.Error("the dropped pool came back")
		}
	})
}
