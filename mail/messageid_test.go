package mail_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/postrider/postrider/mail"
)

func TestMessageID(t *testing.T) {
	m := letter()
	m.Text = "x"
	form := regexp.MustCompile(`^<\d{14}\.[0-9a-z]{24}@example\.com>$`)
	seen := map[string]bool{}
	for range 1000 {
		id := mustCompose(t, m).MessageID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("Message-ID %s is not new or not of the form", id)
		}
		seen[id] = true
	}
	c, err := m.Compose(&mail.ComposeOptions{MessageIDDomain: "id.example.org"})
	if err != nil || !strings.HasSuffix(c.MessageID(), "@id.example.org>") {
		t.Errorf("Message-ID %s, %v", c.MessageID(), err)
	}
	m.From = mail.Addr("zoe@bücher.example")
	if id := mustCompose(t, m).MessageID(); !strings.HasSuffix(id, "@xn--bcher-kva.example>") {
		t.Errorf("Message-ID %s", id)
	}
	m.MessageID = "own@example.com"
	if id := mustCompose(t, m).MessageID(); id != "<own@example.com>" {
		t.Errorf("Message-ID %s", id)
	}
}

func TestRandomFails(t *testing.T) {
	broken := errors.New("no randomness")
	m := letter()
	m.Text = "x"
	if _, err := m.Compose(&mail.ComposeOptions{Random: iotest.ErrReader(broken)}); !errors.Is(err, broken) {
		t.Errorf("Compose: %v", err)
	}
	if _, err := mail.ComposeRaw(opener("From: a@example.com\nTo: b@example.com\n\n"), &mail.RawOptions{Random: iotest.ErrReader(broken)}); !errors.Is(err, broken) {
		t.Errorf("ComposeRaw: %v", err)
	}
}

// What limits of -1 let through must still not become a line that servers
// refuse.
func TestUnfoldable(t *testing.T) {
	m := letter()
	m.Text = "x"
	m.To = []mail.Address{{LocalPart: strings.Repeat("x", 1100), Domain: "example.com"}}
	_, err := m.Compose(&mail.ComposeOptions{Limits: &mail.Limits{AddressOctets: -1, LocalPartOctets: -1}})
	if got := faultCodes(t, err); len(got) != 1 || got[0] != "headers too_long" {
		t.Errorf("got %v", err)
	}
	m.To = []mail.Address{{Name: strings.Repeat("x", 3000) + " " + strings.Repeat("é", 3000), LocalPart: "x", Domain: "example.com"}}
	m.Subject = strings.Repeat("x y", 3000) + strings.Repeat("z", 3000)
	c, err := m.Compose(&mail.ComposeOptions{Limits: &mail.Limits{NameOctets: -1, SubjectOctets: -1}})
	if err != nil {
		t.Fatal(err)
	}
	b := renderChecked(t, c)
	checkFolding(t, b)
	if got := parse(t, b).Subject; got != m.Subject {
		t.Errorf("subject is %.60q", got)
	}
}
