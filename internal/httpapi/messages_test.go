package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// relay makes a relay of a tenant.
func (in *installation) relay(of tenant, change ...func(*store.NewRelay)) store.Relay {
	in.t.Helper()
	n := store.NewRelay{Name: "relay", Host: "mail.example.com", Port: 587, TLS: "tls"}
	for _, c := range change {
		c(&n)
	}
	relay, err := in.store.Tenant(of.id).CreateRelay(in.t.Context(), n, store.Actor{Kind: store.ActorCommand})
	if err != nil {
		in.t.Fatal(err)
	}
	return relay
}

// hello is a message with nothing wrong with it.
const hello = `{"from": "Shop <shop@acme.example>", "to": ["zoe@example.net", "bob@example.net"], "subject": "Hello", "text_body": "Hello", "tags": ["x"], "metadata": {"order": 7}}`

// post sends a body with header fields, given as "Name: value".
func (in *installation) post(path, credential, body string, fields ...string) *httptest.ResponseRecorder {
	in.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+credential)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	in.handler.ServeHTTP(w, r)
	return w
}

// settle makes one attempt for each message that is due at a relay, as delivery does, with one outcome for all.
func (in *installation) settle(of tenant, relay store.Relay, state store.RecipientState, code, enhanced, text string) {
	in.t.Helper()
	ctx, node := in.t.Context(), store.NewID()
	claims, err := in.store.Claim(ctx, store.ClaimRequest{Relay: relay.ID, Tenant: of.id, Class: store.ClassTransactional, Limit: 100, Node: node})
	if err != nil {
		in.t.Fatal(err)
	}
	n := must(strconv.Atoi(code))
	for _, c := range claims {
		status, phase := "success", "done"
		if state != store.Sent {
			status, phase = "rejected", "rcpt"
		}
		o := store.Outcome{Node: node, MessageID: c.MessageID, TenantID: of.id, Attempt: store.AttemptRecord{
			StartedAt: time.Now().Add(-time.Second), EndedAt: time.Now(), Phase: phase, Status: status, Code: n, Enhanced: enhanced, Text: text, Transcript: "C: QUIT",
		}}
		for _, r := range c.Recipients {
			o.Recipients = append(o.Recipients, store.RecipientOutcome{N: r.N, State: state, Code: n, Enhanced: enhanced, Text: text})
		}
		if state == store.Deferred {
			o.NextDue = time.Now().Add(time.Hour)
		}
		if err := in.store.Record(ctx, o); err != nil {
			in.t.Fatal(err)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		state                store.RecipientState
		code, enhanced, text string
		status, message      string
	}{
		"sent":     {store.Sent, "250", "2.0.0", "ok", "success", "sent"},
		"rejected": {store.Failed, "550", "5.1.1", "no such user", "rejected", "failed"},
		"given up": {store.Failed, "451", "4.7.1", "later", "temp_failed", "failed"},
		"deferred": {store.Deferred, "451", "4.7.1", "later", "retry", "deferred"},
		"unknown":  {store.Unknown, "0", "", "no reply", "unknown", "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			in := install(t)
			relay := in.relay(in.a)
			token := in.token(in.a.user)
			sent := read[api.AcceptedMessage](t, in.post("/v1/messages", token, hello), 202)
			in.settle(in.a, relay, test.state, test.code, test.enhanced, test.text)
			got := read[api.MessageDetail](t, in.call("GET", "/v1/messages/"+sent.ID, token, nil), 200)
			r := got.Result
			if r == nil || r.Status != test.status || got.State != test.message || len(got.History) != 1 || got.History[0].Number != 1 || got.Transcript != "C: QUIT" {
				t.Fatalf("message %+v, result %+v", got, r)
			}
			if (r.SMTPCode == nil) != (test.code == "0") || (r.SMTPError == nil) != (test.state == store.Sent) || (r.SentAt == nil) == (test.state == store.Sent) ||
				r.IsRetryable != (test.state == store.Deferred) || len(r.Recipients) != 2 || len(r.Attempts) != 1 || (len(r.RecipientFailures) == 0) != (test.state == store.Sent) {
				t.Errorf("result %+v", r)
			}
			why := read[api.Explanation](t, in.call("GET", "/v1/messages/"+sent.ID+"/explain", token, nil), 200)
			if len(why.Reasons) != 1 {
				t.Errorf("explanation %+v", why)
			}
			// What was sent is not tried again.
			retry := in.call("POST", "/v1/messages/"+sent.ID+"/retry", token, nil)
			if again := test.state != store.Sent; (retry.Code == 200) != again || !again && retry.Code != 409 {
				t.Errorf("retry: status %d: %s", retry.Code, retry.Body)
			}
			if w := in.call("POST", "/v1/messages/"+sent.ID+"/reschedule", token, `{"send_at": "2098-01-01T00:00:00Z"}`); w.Code != 422 {
				t.Errorf("reschedule: status %d: %s", w.Code, w.Body)
			}
			if w := in.call("DELETE", "/v1/messages/"+sent.ID, token, nil); w.Code != 204 {
				t.Errorf("delete: status %d: %s", w.Code, w.Body)
			}
			refused(t, in.call("GET", "/v1/messages/"+sent.ID, token, nil), 404, api.CodeNotFound)
		})
	}
}

func TestSendAndRead(t *testing.T) {
	t.Parallel()
	onBoth(t, testSendAndRead)
}

func testSendAndRead(t *testing.T, in *installation) {
	relay := in.relay(in.a)
	token := in.token(in.a.user)
	sent := read[api.AcceptedMessage](t, in.post("/v1/messages", token, hello), 202)
	if sent.RelayID != relay.ID.String() || !strings.HasSuffix(sent.MessageID, "@acme.example>") || sent.Size == 0 || sent.Result != nil ||
		len(sent.Recipients) != 2 || sent.Recipients[1] != (api.AcceptedRecipient{Address: "bob@example.net", Field: "to", State: "queued"}) {
		t.Errorf("accepted %+v", sent)
	}
	got := read[api.MessageDetail](t, in.call("GET", "/v1/messages/"+sent.ID, token, nil), 200)
	if got.State != "queued" || got.Subject != "Hello" || got.From != "Shop <shop@acme.example>" || got.MailFrom != "shop@acme.example" || got.Result != nil ||
		got.Class != "transactional" || got.OnUnknown != "retry" || len(got.Tags) != 1 || string(got.Metadata) == "" || len(got.Recipients) != 2 || got.UserID != in.a.user.ID.String() {
		t.Errorf("message %+v", got)
	}
	content := in.call("GET", "/v1/messages/"+sent.ID+"/content", token, nil)
	if text := content.Body.String(); content.Code != 200 || content.Header().Get("Content-Type") != "message/rfc822" || int64(len(text)) != sent.Size ||
		!strings.Contains(text, "Message-ID: "+sent.MessageID+"\r\n") || !strings.HasSuffix(text, "\r\nHello\r\n") {
		t.Errorf("content %d %v: %s", content.Code, content.Header(), text)
	}
	why := read[api.Explanation](t, in.call("GET", "/v1/messages/"+sent.ID+"/explain", token, nil), 200)
	if why.Open != 2 || why.State != "queued" || len(why.Reasons) != 0 {
		t.Errorf("explanation %+v", why)
	}
	// Who may see it.
	other, err := in.store.Tenant(in.a.id).CreateUser(t.Context(), store.NewUser{Email: "other@acme.example", Role: auth.RoleUser}, store.Actor{Kind: store.ActorCommand})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, credential string
		sees             bool
	}{
		{"its user", token, true},
		{"the tenant's admin", in.token(in.a.admin), true},
		{"another user", in.token(other), false},
		{"another tenant's admin", in.token(in.b.admin), false},
	} {
		for _, path := range []string{"", "/content", "/explain"} {
			if w := in.call("GET", "/v1/messages/"+sent.ID+path, test.credential, nil); (w.Code == 200) != test.sees || !test.sees && w.Code != 404 {
				t.Errorf("%s: GET %s: status %d", test.name, path, w.Code)
			}
		}
		if w := in.call("POST", "/v1/messages/"+sent.ID+"/cancel", test.credential, nil); !test.sees && w.Code != 404 {
			t.Errorf("%s: cancel: status %d", test.name, w.Code)
		}
		list := read[api.Messages](t, in.call("GET", "/v1/messages", test.credential, nil), 200)
		if (len(list.Data) == 1) != test.sees {
			t.Errorf("%s sees %d messages", test.name, len(list.Data))
		}
		events := read[api.Events](t, in.call("GET", "/v1/events?message_id="+sent.ID, test.credential, nil), 200)
		if (len(events.Data) > 0) != test.sees {
			t.Errorf("%s sees %d events", test.name, len(events.Data))
		}
	}
	got = read[api.MessageDetail](t, in.call("GET", "/v1/messages/"+sent.ID, token, nil), 200)
	if got.State != "canceled" || got.FinishedAt == nil {
		t.Errorf("after cancel: %+v", got)
	}
	refused(t, in.call("POST", "/v1/messages/"+sent.ID+"/cancel", token, nil), 409, api.CodeMessageFinished)
}

// onBoth runs a story on both databases.
func onBoth(t *testing.T, story func(t *testing.T, in *installation)) {
	storetest.Each(t, func(t *testing.T, open storetest.Open) { story(t, installOn(t, open())) })
}

func TestEveryFaultAtOnce(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.relay(in.a, func(n *store.NewRelay) { n.FromDomains = []string{"acme.example"} })
	token := in.token(in.a.user)
	p := refused(t, in.post("/v1/messages", token, `{"from": "a@other.example", "to": ["x@@y", 5], "subject": "a\nb", "text_body": 1, "html_body": "x",
		"attachments": [{"content": "!", "filename": "../x"}], "headers": {"X-A": "\u0007", "Subject": "s"}, "send_at": "never", "class": "bulk", "zzz": 1}`), 422, api.CodeInvalid)
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Pointer+" "+string(e.Code))
	}
	want := []string{
		"/to/1 wrong_type", "/text_body wrong_type", "/attachments/0/content invalid_base64", "/send_at invalid_value",
		"/to/0 invalid_address", "/subject control_character", "/attachments/0/filename invalid_filename", "/headers/X-A control_character", "/headers/Subject reserved_header",
		"/from sender_not_allowed",
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "|")+"|", w+"|") {
			t.Errorf("faults %q lack %q", got, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("faults are %q", got)
	}
	for body, test := range map[string]struct {
		status int
		code   api.Code
	}{
		"":          {400, api.CodeMalformed},
		"{":         {400, api.CodeMalformed},
		"[]":        {422, api.CodeInvalid},
		`{"a":`:     {400, api.CodeMalformed},
		hello + "x": {400, api.CodeMalformed},
	} {
		refused(t, in.post("/v1/messages", token, body), test.status, test.code)
	}
	refused(t, in.post("/v1/messages", token, hello, "Content-Type: text/plain"), 415, api.CodeUnsupportedMedia)
	if list := read[api.Messages](t, in.call("GET", "/v1/messages", token, nil), 200); len(list.Data) != 0 {
		t.Errorf("%d messages were accepted", len(list.Data))
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	onBoth(t, testIdempotency)
}

func testIdempotency(t *testing.T, in *installation) {
	in.relay(in.a)
	token := in.token(in.a.user)
	first := in.post("/v1/messages", token, hello, "Idempotency-Key: k1")
	sent := read[api.AcceptedMessage](t, first, 202)
	for name, key := range map[string]string{"bare": "k1", "quoted": `"k1"`} {
		again := in.post("/v1/messages", token, hello, "Idempotency-Key: "+key)
		if got := read[api.AcceptedMessage](t, again, 202); got.ID != sent.ID || again.Header().Get("Idempotency-Replayed") != "true" || again.Body.String() != first.Body.String() {
			t.Errorf("%s: %s, first %s", name, again.Body, first.Body)
		}
	}
	var form strings.Builder
	form.WriteString("--b\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n" + hello + "\r\n--b--\r\n")
	if got := read[api.AcceptedMessage](t, in.post("/v1/messages", token, form.String(), "Idempotency-Key: k1", "Content-Type: multipart/form-data; boundary=b"), 202); got.ID != sent.ID {
		t.Error("the same message as a form is another")
	}
	refused(t, in.post("/v1/messages", token, strings.Replace(hello, "Hello", "Hallo", 1), "Idempotency-Key: k1"), 422, api.CodeIdempotencyMismatch)
	refused(t, in.post("/v1/messages", token, hello, `Idempotency-Key: "k1`), 400, api.CodeInvalidKey)
	refused(t, in.post("/v1/messages", token, hello, "Idempotency-Key: "+strings.Repeat("k", 257)), 400, api.CodeInvalidKey)
	if got := read[api.AcceptedMessage](t, in.post("/v1/messages", in.token(in.a.admin), hello, "Idempotency-Key: k1"), 202); got.ID == sent.ID {
		t.Error("another user got the answer")
	}
	// A message that a test key sent to the inbox is no answer to one that is to be sent, nor the other way round.
	_, test := in.key(in.a.user, func(n *store.NewAPIKey) { n.Test = true })
	if got := read[api.AcceptedMessage](t, in.post("/v1/messages", test, hello, "Idempotency-Key: k1"), 202); !got.Test || got.ID == sent.ID {
		t.Errorf("a test key got %+v", got)
	}
	read[api.AcceptedMessage](t, in.post("/v1/messages", test, hello, "Idempotency-Key: k3"), 202)
	if got := read[api.AcceptedMessage](t, in.post("/v1/messages", token, hello, "Idempotency-Key: k3"), 202); got.Test {
		t.Error("a message that is to be sent was answered with one of a test key")
	}
	// A refused request leaves its key free.
	refused(t, in.post("/v1/messages", token, `{}`, "Idempotency-Key: k2"), 422, api.CodeInvalid)
	read[api.AcceptedMessage](t, in.post("/v1/messages", token, hello, "Idempotency-Key: k2"), 202)
	if list := read[api.Messages](t, in.call("GET", "/v1/messages", token, nil), 200); len(list.Data) != 5 {
		t.Errorf("%d messages, want 5", len(list.Data))
	}
}

// TestOneKeyManyRequests: however many come at the same time, one message is made, and everybody gets its id.
func TestOneKeyManyRequests(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, in *installation) {
		in.relay(in.a)
		token := in.token(in.a.user)
		const many = 1000
		ids := make([]string, many)
		var group sync.WaitGroup
		for i := range many {
			group.Go(func() {
				w := in.post("/v1/messages", token, hello, "Idempotency-Key: k")
				for w.Code == http.StatusConflict { // in flight: to be tried again
					w = in.post("/v1/messages", token, hello, "Idempotency-Key: k")
				}
				var sent api.AcceptedMessage
				if err := json.Unmarshal(w.Body.Bytes(), &sent); err != nil || w.Code != http.StatusAccepted {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
				ids[i] = sent.ID
			})
		}
		group.Wait()
		slices.Sort(ids)
		if ids = slices.Compact(ids); len(ids) != 1 {
			t.Errorf("%d messages were answered", len(ids))
		}
		if list := read[api.Messages](t, in.call("GET", "/v1/messages", token, nil), 200); len(list.Data) != 1 {
			t.Errorf("%d messages were made", len(list.Data))
		}
	})
}

func TestBatch(t *testing.T) {
	t.Parallel()
	onBoth(t, testBatch)
}

func testBatch(t *testing.T, in *installation) {
	in.relay(in.a)
	token := in.token(in.a.user)
	bad := `{"from": "x", "to": "a@example.net", "text_body": "x"}`
	strict := refused(t, in.post("/v1/messages/batch", token, "["+hello+","+bad+","+`{"from": 1}`+"]"), 422, api.CodeInvalid)
	if len(strict.Errors) < 2 || strict.Errors[0].Pointer != "/1/from" || strict.Errors[1].Pointer != "/2/from" {
		t.Errorf("errors %+v", strict.Errors)
	}
	if list := read[api.Messages](t, in.call("GET", "/v1/messages", token, nil), 200); len(list.Data) != 0 {
		t.Errorf("a strict batch left %d messages", len(list.Data))
	}
	body := "[" + bad + "," + hello + "," + hello + "]"
	first := in.post("/v1/messages/batch?mode=permissive", token, body, "Idempotency-Key: b")
	out := read[api.AcceptedBatch](t, first, 202)
	if len(out.Data) != 2 || out.Data[0].Index != 1 || out.Data[1].Index != 2 || len(out.Errors) != 1 || out.Errors[0].Index != 0 || out.Errors[0].Errors[0].Pointer != "/0/from" {
		t.Errorf("batch %s", first.Body)
	}
	if again := in.post("/v1/messages/batch?mode=permissive", token, body, "Idempotency-Key: b"); again.Body.String() != first.Body.String() {
		t.Errorf("again %s, first %s", again.Body, first.Body)
	}
	refused(t, in.post("/v1/messages/batch?mode=permissive", token, "["+bad+"]"), 422, api.CodePartialBatch)
	refused(t, in.post("/v1/messages/batch", token, "[]"), 400, api.CodeMalformed)
	refused(t, in.post("/v1/messages/batch", token, hello), 400, api.CodeMalformed)
	if list := read[api.Messages](t, in.call("GET", "/v1/messages", token, nil), 200); len(list.Data) != 2 {
		t.Errorf("%d messages, want 2", len(list.Data))
	}
}

func TestValidateStoresNothing(t *testing.T) {
	t.Parallel()
	in := install(t)
	relay := in.relay(in.a)
	if _, err := in.store.Tenant(in.a.id).PauseRelay(t.Context(), relay.ID, "maintenance", store.Actor{Kind: store.ActorCommand}); err != nil {
		t.Fatal(err)
	}
	token := in.token(in.a.user)
	v := read[api.Validation](t, in.post("/v1/messages/validate", token, hello), 200)
	if v.Relay.ID != relay.ID.String() || v.Size == 0 || len(v.Recipients) != 2 || len(v.Holds) != 1 || !strings.Contains(v.Holds[0], "maintenance") {
		t.Errorf("validation %+v", v)
	}
	refused(t, in.post("/v1/messages/validate", token, `{}`), 422, api.CodeInvalid)
	if list := read[api.Messages](t, in.call("GET", "/v1/messages", token, nil), 200); len(list.Data) != 0 {
		t.Errorf("%d messages were accepted", len(list.Data))
	}
	// A paused relay does not refuse.
	sent := read[api.AcceptedMessage](t, in.post("/v1/messages", token, hello), 202)
	if why := read[api.Explanation](t, in.call("GET", "/v1/messages/"+sent.ID+"/explain", token, nil), 200); len(why.Reasons) != 1 || !strings.Contains(why.Reasons[0], "maintenance") {
		t.Errorf("explanation %+v", why)
	}
}

func TestSendingKeysSendOnly(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.relay(in.a)
	_, sending := in.key(in.a.user, func(n *store.NewAPIKey) { n.Scope = auth.ScopeSending })
	sent := read[api.AcceptedMessage](t, in.post("/v1/messages", sending, hello), 202)
	for _, path := range []string{"/v1/messages", "/v1/messages/" + sent.ID, "/v1/events", "/v1/inbox", "/v1/relays"} {
		if w := in.call("GET", path, sending, nil); w.Code != 403 {
			t.Errorf("GET %s: status %d, want 403", path, w.Code)
		}
	}
}

func TestTestKeysSendNoRealMail(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.relay(in.a)
	_, test := in.key(in.a.user, func(n *store.NewAPIKey) { n.Test = true })
	sent := read[api.AcceptedMessage](t, in.post("/v1/messages", test, hello), 202)
	if !sent.Test {
		t.Errorf("accepted %+v", sent)
	}
	read[api.AcceptedMessage](t, in.post("/v1/messages", in.token(in.a.user), hello), 202)
	got := read[api.MessageDetail](t, in.call("GET", "/v1/messages/"+sent.ID, in.token(in.a.user), nil), 200)
	if !got.Test {
		t.Errorf("message %+v", got)
	}
}

func TestWaitAnswersInTime(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.relay(in.a)
	token := in.token(in.a.user)
	w := in.post("/v1/messages", token, hello, "Prefer: respond-async, wait=0")
	if sent := read[api.AcceptedMessage](t, w, 202); sent.Result != nil || w.Header().Get("Preference-Applied") != "wait=0" {
		t.Errorf("answer %s %v", w.Body, w.Header())
	}
	// Somebody settles the message while the caller waits.
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- in.post("/v1/messages", token, hello, "Prefer: wait=60") }()
	admin := in.token(in.a.admin)
	for settled := false; !settled; {
		for _, m := range read[api.Messages](t, in.call("GET", "/v1/messages?state=queued", admin, nil), 200).Data {
			in.call("POST", "/v1/messages/"+m.ID+"/cancel", admin, nil)
		}
		select {
		case w = <-done:
			settled = true
		default:
		}
	}
	if got := read[api.AcceptedMessage](t, w, 200).Recipients[0].State; got != "canceled" {
		t.Errorf("the recipient is %s beside its result", got)
	}
	sent := read[map[string]json.RawMessage](t, w, 200)
	var result map[string]any
	if err := json.Unmarshal(sent["result"], &result); err != nil {
		t.Fatalf("answer %s: %v", w.Body, err)
	}
	for _, key := range []string{"status", "message_id", "smtp_code", "enhanced_code", "smtp_error", "recipients", "recipient_failures", "sent_at", "retry_count", "is_retryable", "attempts"} {
		if _, ok := result[key]; !ok {
			t.Errorf("the result has no %s", key)
		}
	}
}

// A service that stops answers those who wait: what it has accepted would be sent again by whoever is cut off.
func TestWaitEndsWithTheService(t *testing.T) {
	t.Parallel()
	stopping := make(chan struct{})
	in := install(t, func(c *httpapi.Config) { c.Stopping = stopping })
	in.relay(in.a)
	close(stopping)
	begun := time.Now()
	sent := read[api.AcceptedMessage](t, in.post("/v1/messages", in.token(in.a.user), hello, "Prefer: wait=60"), 202)
	if took := time.Since(begun); sent.ID == "" || took > 30*time.Second {
		t.Errorf("answered %+v after %v", sent, took)
	}
}
