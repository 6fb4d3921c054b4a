package submission_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/submission"
	"github.com/postrider/postrider/mail"
)

func TestPolicyFaultsComeWithTheMessages(t *testing.T) {
	t.Parallel()
	d := sqliteDesk(t)
	d.relay("one", func(n *store.NewRelay) { n.FromDomains = []string{"acme.example", "xn--bcher-kva.example"} })
	for name, test := range map[string]struct {
		change func(*submission.Request)
		want   string
	}{
		"author":           {func(q *submission.Request) { q.Message.From = mail.Addr("a@other.example") }, "from sender_not_allowed|mail_from sender_not_allowed"},
		"subdomain":        {func(q *submission.Request) { q.Message.From = mail.Addr("a@sub.acme.example") }, "from sender_not_allowed|mail_from sender_not_allowed"},
		"reverse-path":     {func(q *submission.Request) { q.Message.MailFrom = ref(mail.Addr("a@other.example")) }, "mail_from sender_not_allowed"},
		"with other fault": {func(q *submission.Request) { q.Message.From, q.Message.Subject = mail.Addr("a@other.example"), "a\x00" }, "subject control_character|from sender_not_allowed"},
		"class":            {func(q *submission.Request) { q.Class = "fast" }, "class invalid_value"},
		"on_unknown":       {func(q *submission.Request) { q.OnUnknown = "ask" }, "on_unknown invalid_value"},
		"far ahead":        {func(q *submission.Request) { q.SendAt = d.clock.Now().Add(submission.MaxAhead + time.Second) }, "send_at invalid_value"},
		"tags":             {func(q *submission.Request) { q.Tags = []string{"", "a\nb", strings.Repeat("x", 129)} }, "tags[0] required|tags[1] control_character|tags[2] too_long"},
		"many tags":        {func(q *submission.Request) { q.Tags = slices.Repeat([]string{"a"}, 51) }, "tags too_many"},
	} {
		if got := d.refused(hello(test.change)); got != test.want {
			t.Errorf("%s: faults are %s, want %s", name, got, test.want)
		}
	}
	for name, change := range map[string]func(*submission.Request){
		"other case":      func(q *submission.Request) { q.Message.From = mail.Addr("a@ACME.example") },
		"null":            func(q *submission.Request) { q.Message.MailFrom = &mail.Address{} },
		"unicode":         func(q *submission.Request) { q.Message.From = mail.Addr("a@bücher.example") },
		"in the past":     func(q *submission.Request) { q.SendAt = d.clock.Now().Add(-time.Hour) },
		"as far as it is": func(q *submission.Request) { q.SendAt = d.clock.Now().Add(submission.MaxAhead) },
	} {
		if _, _, err := d.Accept(t.Context(), d.user, hello(change), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScheduledMessageIsTriedFromThenOn(t *testing.T) {
	t.Parallel()
	d := sqliteDesk(t)
	d.relay("one")
	at := d.clock.Now().Add(48 * time.Hour)
	m := d.message(d.accept(hello(func(q *submission.Request) { q.SendAt = at })).ID)
	if !m.SendAt.Equal(at) || !m.GiveUpAt.Equal(at.Add(submission.DefaultGiveUpAfter)) {
		t.Errorf("due %v, given up %v", m.SendAt, m.GiveUpAt)
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		d.relay("one")
		once := &submission.Once{Scope: "POST /v1/messages", Key: "k", Answer: func(r []submission.Receipt) (int, []byte, error) {
			return 202, []byte(r[0].ID.String()), nil
		}}
		large := strings.Repeat("x", 400_000)
		request := func(change ...func(*submission.Request)) *submission.Request {
			q := hello(func(q *submission.Request) {
				q.Message.Attachments = []mail.Attachment{{Filename: "a", Open: opener(large), Size: int64(len(large))}}
				q.Relay = &submission.InlineRelay{Host: "r.example.com", Username: "u", Password: "p"}
			})
			for _, c := range change {
				c(q)
			}
			return q
		}
		first, replay, err := d.Accept(t.Context(), d.user, request(), once)
		if err != nil || replay != nil {
			t.Fatalf("error %v, replay %v", err, replay)
		}
		d.clock.add(time.Hour) // another Date and Message-ID are the same request
		_, replay, err = d.Accept(t.Context(), d.user, request(), once)
		if err != nil || replay == nil || replay.Status != 202 || string(replay.Body) != first.ID.String() {
			t.Fatalf("error %v, replay %+v", err, replay)
		}
		for name, change := range map[string]func(*submission.Request){
			"content":    func(q *submission.Request) { q.Message.Attachments[0].Open = opener(strings.Repeat("y", 400_000)) },
			"filename":   func(q *submission.Request) { q.Message.Attachments[0].Filename = "b" },
			"recipients": func(q *submission.Request) { q.Message.Cc = mail.Addrs("c@example.net") },
			"moved":      func(q *submission.Request) { q.Message.To, q.Message.Cc = nil, q.Message.To },
			"password":   func(q *submission.Request) { q.Relay.Password = "q" },
			"metadata":   func(q *submission.Request) { q.Metadata = []byte("{}") },
			"text":       func(q *submission.Request) { q.Message.Text, q.Message.HTML = "", q.Message.Text },
			"header":     func(q *submission.Request) { q.Message.Header = []mail.Field{{Name: "X-A", Value: "b"}} },
			"send_at":    func(q *submission.Request) { q.SendAt = d.clock.Now().Add(time.Hour) },
		} {
			if _, _, err := d.Accept(t.Context(), d.user, request(change), once); !errors.Is(err, store.ErrIdempotencyMismatch) {
				t.Errorf("%s: error %v, want a mismatch", name, err)
			}
		}
		if d.count() != 1 {
			t.Errorf("%d messages, want 1", d.count())
		}
		if n := d.swept(); n != 1 { // the key's own row
			t.Errorf("%d rows are left: contents of repeated requests should be gone", n)
		}
	})
}

func TestQuota(t *testing.T) {
	t.Parallel()
	d := sqliteDesk(t)
	d.relay("one")
	if err := d.store.Operator().SetQuotas(t.Context(), d.user.TenantID, store.Quotas{MessagesPerDay: 2}, command); err != nil {
		t.Fatal(err)
	}
	b := d.NewBatch(d.user, nil)
	defer b.Discard()
	for range 3 {
		if err := b.Add(t.Context(), hello()); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := b.Commit(t.Context())
	if quota, ok := errors.AsType[*store.QuotaError](err); !ok || quota.Name != "messages_per_day" {
		t.Errorf("error %v, want the quota", err)
	}
	if d.count() != 0 {
		t.Errorf("%d messages of a batch over the quota", d.count())
	}
	d.accept(hello())
	d.accept(hello())
	if _, _, err := d.Accept(t.Context(), d.user, hello(), nil); err == nil {
		t.Error("a third message was accepted")
	}
}

func TestBatchGoesOnWithoutTheFaulty(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, d *desk) {
		d.relay("one")
		b := d.NewBatch(d.user, nil)
		defer b.Discard()
		large := strings.Repeat("line\n", 60_000) // so that some of the contents do not stay in memory
		for i := range 40 {
			err := b.Add(t.Context(), hello(func(q *submission.Request) {
				q.Message.Subject = fmt.Sprint(i)
				q.Message.Text = large[:250_000]
				if i%10 == 3 {
					q.Message.To = mail.Addrs("nobody")
				}
			}))
			if _, faulty := errors.AsType[mail.Faults](err); faulty != (i%10 == 3) {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		receipts, _, err := b.Commit(t.Context())
		if err != nil || len(receipts) != 36 || b.Len() != 36 || d.count() != 36 {
			t.Fatalf("%d receipts, %d messages, error %v", len(receipts), d.count(), err)
		}
		for _, r := range []submission.Receipt{receipts[0], receipts[35]} {
			if text := d.content(r.ID); int64(len(text)) != r.Size || !strings.Contains(text, "Subject: "+d.message(r.ID).Subject+"\r\n") {
				t.Errorf("content of %d octets", len(text))
			}
		}
	})
}

func TestDiscardedBatchLeavesNothing(t *testing.T) {
	t.Parallel()
	d := sqliteDesk(t)
	d.relay("one")
	b := d.NewBatch(d.user, nil)
	if err := b.Add(t.Context(), hello(func(q *submission.Request) { q.Message.Text = strings.Repeat("line\n", 100_000) })); err != nil {
		t.Fatal(err)
	}
	b.Discard()
	b.Discard()
	// What a process that died leaves behind is found: so is it here that nothing was.
	left := d.NewBatch(d.user, nil)
	if err := left.Add(t.Context(), hello(func(q *submission.Request) { q.Message.Text = strings.Repeat("line\n", 100_000) })); err != nil {
		t.Fatal(err)
	}
	if n := d.swept(); n == 0 {
		t.Error("the sweep does not find contents without a message")
	}
	if n := d.swept(); n != 0 || d.count() != 0 {
		t.Errorf("%d rows are left, %d messages", n, d.count())
	}
}

func TestTestKeysMakeTestMessages(t *testing.T) {
	t.Parallel()
	d := sqliteDesk(t)
	d.relay("one")
	d.user.Test = true
	if m := d.message(d.accept(hello()).ID); !m.Test {
		t.Errorf("message %+v", m.Message)
	}
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	_, err := submission.New(submission.Config{RelayKey: []byte("short")})
	for _, want := range []string{"Store", "Sealer", "RelayKey"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %s", err, want)
		}
	}
}

func TestParseIdempotencyKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values []string
		want   string
		bad    bool
	}{
		{nil, "", false},
		{[]string{"k"}, "k", false},
		{[]string{" k "}, "k", false},
		{[]string{`"k"`}, "k", false},
		{[]string{`"a b"`}, "a b", false},
		{[]string{`"a\"b\\c"`}, `a"b\c`, false},
		{[]string{`"k";v=1`}, "k", false},
		{[]string{`"k" ; v=1`}, "k", false},
		{[]string{`k"l`}, `k"l`, false},
		{[]string{strings.Repeat("k", 256)}, strings.Repeat("k", 256), false},
		{[]string{strings.Repeat("k", 257)}, "", true},
		{[]string{""}, "", true},
		{[]string{`""`}, "", true},
		{[]string{`"k`}, "", true},
		{[]string{`"k"x`}, "", true},
		{[]string{`"\k"`}, "", true},
		{[]string{"ä"}, "", true},
		{[]string{"a\tb"}, "", true},
		{[]string{"a", "a"}, "", true},
		{[]string{`"\`}, "", true},
	} {
		got, err := submission.ParseIdempotencyKey(test.values)
		_, isKey := errors.AsType[*submission.KeyError](err)
		if got != test.want || (err != nil) != test.bad || isKey != test.bad {
			t.Errorf("%q: %q, %v", test.values, got, err)
		}
	}
}

func TestValidHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"mail.example.com": true, "localhost": true, "10.0.0.1": true, "::1": true, "a_b.example": true, "xn--bcher-kva.example": true, "3com.example": true,
		"": false, "a..b": false, "-a.b": false, "a-.b": false, "a b": false, "127.1": false, "2130706433": false, "0x7f.1": false, "fe80::1%eth0": false, "bücher.example": false,
		"a.b.": false, "[::1]": false, "a/b": false, strings.Repeat("a", 64) + ".b": false, "user@host": false, "host:25": false,
	} {
		if got := submission.ValidHost(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}
