package submission_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

func TestAcceptedMessageIsFrozen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		relay := d.relay("one")
		q := hello(func(q *submission.Request) {
			m := &q.Message
			m.To = mail.Addrs("zoe@EXAMPLE.net", "Bob <bob@example.net>")
			m.Cc = mail.Addrs("zoe@example.net", "carl@bücher.example")
			m.Bcc = mail.Addrs("bob@example.net", "Bob@example.net", "dora@example.net")
			m.DSN = &mail.DSN{Notify: []string{"FAILURE", "DELAY"}, Return: "HDRS", EnvelopeID: "e1"}
			m.RequireTLS = true
			q.Tags, q.Metadata = []string{"a", "b"}, []byte(`{"k":1}`)
			q.Class, q.OnUnknown = "bulk", "hold"
		})
		r := d.accept(q)
		m := d.message(r.ID)
		var got []string
		for _, one := range m.Recipients {
			got = append(got, fmt.Sprintf("%d %s %s %s %s", one.N, one.Address, one.Field, one.State, one.Notify))
		}
		want := []string{
			"1 zoe@EXAMPLE.net to queued FAILURE,DELAY", "2 bob@example.net to queued FAILURE,DELAY", "3 carl@xn--bcher-kva.example cc queued FAILURE,DELAY",
			"4 Bob@example.net bcc queued FAILURE,DELAY", "5 dora@example.net bcc queued FAILURE,DELAY",
		}
		if !slices.Equal(got, want) {
			t.Errorf("recipients are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if len(r.Recipients) != 5 || r.Recipients[2].Address != "carl@xn--bcher-kva.example" || r.RelayID != relay.ID {
			t.Errorf("receipt %+v", r)
		}
		if m.Class != store.ClassBulk || m.OnUnknown != "hold" || !m.RequireTLS || m.EightBit || m.SMTPUTF8 || m.Test || m.Size != r.Size || m.MessageID != r.MessageID ||
			m.MailFrom != "shop@acme.example" || m.HeaderFrom != "Shop <shop@acme.example>" || m.Subject != "Hello" || fmt.Sprint(m.Tags) != "[a b]" ||
			!m.GiveUpAt.Equal(d.clock.Now().Add(submission.DefaultGiveUpAfter)) || m.UserID != d.user.UserID {
			t.Errorf("message %+v", m.Message)
		}
		text := d.content(r.ID)
		for _, want := range []string{"From: Shop <shop@acme.example>\r\n", "Date: Wed, 02 Jan 2030 03:04:05 +0000\r\n", "Message-ID: " + r.MessageID + "\r\n", "\r\n\r\nHello\r\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("content lacks %q:\n%s", want, text)
			}
		}
		if strings.Contains(text, "dora") {
			t.Error("the content names a Bcc recipient")
		}
	})
}

func TestLargeContentIsWrittenInPieces(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		d.relay("one")
		large := strings.Repeat("0123456789abcdef", 60_000)
		r := d.accept(hello(func(q *submission.Request) {
			q.Message.TextFrom, q.Message.Text = opener(strings.Repeat("A long line of text.\n", 20_000)), ""
			q.Message.Attachments = []mail.Attachment{{Filename: "a.bin", Open: opener(large), Size: int64(len(large))}}
		}))
		if text := d.content(r.ID); int64(len(text)) != r.Size || !strings.HasSuffix(text, "--\r\n") || r.Size < int64(len(large)) {
			t.Errorf("content of %d octets, receipt says %d", len(text), r.Size)
		}
	})
}

func TestBrokenContentLeavesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		d.relay("one")
		broken := errors.New("disk on fire")
		text := strings.Repeat("x", 1<<20)
		opens := 0
		q := hello(func(q *submission.Request) {
			q.Message.Attachments = []mail.Attachment{{Filename: "a.bin", Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
				opens++
				return io.NopCloser(io.MultiReader(strings.NewReader(text[:700_000]), brokenReader{broken})), nil
			}}}
		})
		if _, _, err := d.Accept(t.Context(), d.user, q, nil); !errors.Is(err, broken) {
			t.Fatalf("error is %v, want that of the content", err)
		}
		if opens == 0 || d.count() != 0 {
			t.Errorf("opened %d times, %d messages", opens, d.count())
		}
		if n := d.swept(); n != 0 {
			t.Errorf("%d rows are left: the pieces should be gone", n)
		}
	})
}

// brokenReader always fails.
type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// fieldsOf tells each recipient with the field that names it.
func fieldsOf(recipients []store.Recipient) string {
	var all []string
	for _, r := range recipients {
		all = append(all, r.Address+" "+r.Field)
	}
	return strings.Join(all, ", ")
}

func TestRawMessage(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		d.relay("one", func(n *store.NewRelay) { n.FromDomains = []string{"acme.example"} })
		const raw = "From: =?utf-8?q?Zo=C3=AB?= <zoe@acme.example>\r\nTo: a@example.net, B <b@EXAMPLE.net>\r\nCc: d@example.net\r\nBcc: c@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n"
		request := func(text string) *submission.Request {
			return &submission.Request{Raw: &submission.Raw{Open: opener(text), Size: int64(len(text))}}
		}
		r := d.accept(request(raw))
		m := d.message(r.ID)
		if m.Subject != "Grüße" || m.HeaderFrom != "Zoë <zoe@acme.example>" || m.MailFrom != "zoe@acme.example" || len(m.Recipients) != 4 {
			t.Errorf("message %+v", m)
		}
		if got := fieldsOf(m.Recipients); got != "a@example.net to, b@EXAMPLE.net to, d@example.net cc, c@example.net bcc" {
			t.Errorf("fields are %s", got)
		}
		if text := d.content(r.ID); strings.Contains(text, "c@example.net") || !strings.Contains(text, "Message-ID: "+r.MessageID) || !strings.Contains(text, "Date: ") {
			t.Errorf("content %s", text)
		}
		q := request(strings.Replace(raw, "B <b@", "=?x-unknown?q?B=E9?= <b@", 1))
		q.Raw.Rcpt = mail.Addrs("b@example.net", "d@example.net", "only@example.net")
		q.Message.MailFrom = &mail.Address{}
		if m := d.message(d.accept(q).ID); m.MailFrom != "" || fieldsOf(m.Recipients) != "b@example.net to, d@example.net cc, only@example.net bcc" {
			t.Errorf("with an envelope: %+v", m)
		}
		if got := d.refused(request(strings.Replace(raw, "acme.example", "other.example", 1))); got != "from sender_not_allowed|mail_from sender_not_allowed" {
			t.Errorf("faults are %s", got)
		}
		if got := d.refused(request("no header")); !strings.HasPrefix(got, "raw ") {
			t.Errorf("faults are %s", got)
		}
	})
}

func TestRelayIsChosen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		if got := d.refused(hello()); got != "relay_id required" {
			t.Errorf("without relays: %s", got)
		}
		one := d.relay("one")
		if r := d.accept(hello()); r.RelayID != one.ID {
			t.Errorf("the only relay was not taken: %v", r.RelayID)
		}
		two := d.relay("two", func(n *store.NewRelay) { n.GiveUpAfter = time.Hour })
		if got := d.refused(hello()); got != "relay_id required" {
			t.Errorf("with two relays: %s", got)
		}
		named := d.accept(hello(func(q *submission.Request) { q.RelayID = two.ID }))
		if m := d.message(named.ID); m.RelayID != two.ID || !m.GiveUpAt.Equal(d.clock.Now().Add(time.Hour)) {
			t.Errorf("message %+v", m.Message)
		}
		if _, err := d.store.Tenant(d.user.TenantID).UpdateSettings(t.Context(), store.SettingsPatch{DefaultRelayID: &two.ID, OnUnknown: ref("hold")}, command); err != nil {
			t.Fatal(err)
		}
		d.Forget()
		if m := d.message(d.accept(hello()).ID); m.RelayID != two.ID || m.OnUnknown != "hold" {
			t.Errorf("with a default: %+v", m.Message)
		}
		if got := d.refused(hello(func(q *submission.Request) { q.RelayID = store.NewID() })); got != "relay_id unknown_relay" {
			t.Errorf("an unknown relay: %s", got)
		}
		if got := d.refused(hello(func(q *submission.Request) { q.RelayID, q.Relay = one.ID, &submission.InlineRelay{Host: "x.example"} })); got != "relay_id conflict" {
			t.Errorf("two relays given: %s", got)
		}
		// A relay that was deleted meanwhile, which the cache still knows.
		gone := d.relay("gone")
		if _, err := d.Validate(t.Context(), d.user, hello(func(q *submission.Request) { q.RelayID = gone.ID })); err != nil {
			t.Fatal(err)
		}
		if err := d.store.Tenant(d.user.TenantID).DeleteRelay(t.Context(), gone.ID, command); err != nil {
			t.Fatal(err)
		}
		if got := d.refused(hello(func(q *submission.Request) { q.RelayID = gone.ID })); got != "relay_id unknown_relay" {
			t.Errorf("a deleted relay: %s", got)
		}
	})
}

// ref gives a pointer to a copy.
func ref[T any](v T) *T { return &v }

func TestInlineRelay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		with := func(r submission.InlineRelay) *submission.Request {
			return hello(func(q *submission.Request) { q.Relay = &r })
		}
		base := submission.InlineRelay{Host: "Mail.example.com.", Username: "u", Password: "geheim"}
		first := d.accept(with(base))
		relay, err := d.store.Tenant(d.user.TenantID).Relay(t.Context(), first.RelayID)
		if err != nil || relay.Host != "mail.example.com" || relay.Port != 587 || relay.TLS != "tls" || !relay.HasPassword || !relay.Inline {
			t.Fatalf("relay %+v, error %v", relay, err)
		}
		sealed, err := d.store.Tenant(d.user.TenantID).RelaySecret(t.Context(), relay.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.sealer.Unseal(d.user.TenantID, "relay password", sealed); err != nil || string(got) != "geheim" {
			t.Errorf("password %q, error %v", got, err)
		}
		ids := map[uuid.UUID]string{first.RelayID: "base"}
		d.Forget() // found again in the store as well
		if again := d.accept(with(base)); again.RelayID != first.RelayID {
			t.Error("the same relay is another the second time")
		}
		for name, change := range map[string]func(*submission.InlineRelay){
			"password": func(r *submission.InlineRelay) { r.Password = "other" },
			"user":     func(r *submission.InlineRelay) { r.Username = "v" },
			"port":     func(r *submission.InlineRelay) { r.Port = 2525 },
			"tls":      func(r *submission.InlineRelay) { r.TLS = "ssl" },
			"helo":     func(r *submission.InlineRelay) { r.HELO = "h.example" },
			"none":     func(r *submission.InlineRelay) { r.Username, r.Password = "", "" },
		} {
			r := base
			change(&r)
			id := d.accept(with(r)).RelayID
			if other, known := ids[id]; known {
				t.Errorf("%s and %s are one relay", name, other)
			}
			ids[id] = name
		}
		list, _, err := d.store.Tenant(d.user.TenantID).Relays(t.Context(), store.Page{})
		if err != nil || len(list) != 0 {
			t.Errorf("%d relays are listed, error %v", len(list), err)
		}
		got := d.refused(with(submission.InlineRelay{Host: "127.1", Port: 70000, TLS: "maybe", Password: "x", HELO: "a b", CACert: "x"}))
		if got != "relay.host invalid_value|relay.port invalid_value|relay.tls invalid_value|relay.username required|relay.helo invalid_value|relay.ca_cert invalid_value" {
			t.Errorf("faults are %s", got)
		}
	})
}
