package httpapi_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/egress"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/smtp/smtptest"
)

func TestRelayLife(t *testing.T) {
	t.Parallel()
	in := install(t)
	admin, user := in.token(in.a.admin), in.token(in.a.user)
	made := read[api.Relay](t, in.call("POST", "/v1/relays", admin, `{"name": "one", "host": "Mail.Example.com.", "username": "u", "password": "geheim", "from_domains": ["Acme.example"],
		"limits": {"max_conns": 3}, "retry_schedule": ["1s", "5m"], "give_up_after": "24h"}`), 201)
	if made.Host != "mail.example.com" || made.Port != 587 || made.TLS != "tls" || !made.HasPassword || made.Shared || made.FromDomains[0] != "acme.example" ||
		made.Limits.MaxConns != 3 || len(made.RetrySchedule) != 2 || made.GiveUpAfter != "24h0m0s" || made.Paused != nil {
		t.Errorf("made %+v", made)
	}
	path := "/v1/relays/" + made.ID
	if w := in.call("GET", path, user, nil); w.Code != 200 || strings.Contains(w.Body.String(), "geheim") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	refused(t, in.call("POST", "/v1/relays", admin, `{"name": "one", "host": "x.example.com"}`), 409, api.CodeConflict)
	paused := read[api.Relay](t, in.call("POST", path+"/pause", admin, `{"reason": "maintenance"}`), 200)
	if paused.Paused == nil || paused.Paused.By != "tenant" || paused.Paused.Reason != "maintenance" {
		t.Errorf("paused %+v", paused)
	}
	if got := read[api.Relay](t, in.call("POST", path+"/resume", admin, nil), 200); got.Paused != nil {
		t.Errorf("resumed %+v", got)
	}
	if got := read[api.Relay](t, in.call("POST", path+"/pause", admin, nil), 200); got.Paused == nil {
		t.Errorf("paused without a body %+v", got)
	}
	changed := read[api.Relay](t, in.call("PATCH", path, admin, `{"port": 465, "tls": "ssl", "give_up_after": "", "from_domains": []}`), 200)
	if changed.Port != 465 || changed.TLS != "ssl" || !changed.HasPassword || changed.GiveUpAfter != "" || len(changed.FromDomains) != 0 {
		t.Errorf("changed %+v", changed)
	}
	// A password goes nowhere that it was not given for.
	if p := refused(t, in.call("PATCH", path, admin, `{"host": "evil.example"}`), 422, api.CodeInvalid); p.Errors[0].Pointer != "/password" {
		t.Errorf("errors %+v", p.Errors)
	}
	read[api.Relay](t, in.call("PATCH", path, admin, `{"host": "new.example", "password": "other"}`), 200)
	if got := read[api.Relay](t, in.call("PATCH", path, admin, `{"username": "", "password": ""}`), 200); got.HasPassword || got.Username != "" {
		t.Errorf("without a password %+v", got)
	}
	if w := in.call("DELETE", path, admin, nil); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	refused(t, in.call("GET", path, admin, nil), 404, api.CodeNotFound)
}

func TestRelayFaultsAtOnce(t *testing.T) {
	t.Parallel()
	in := install(t)
	p := refused(t, in.call("POST", "/v1/relays", in.token(in.a.admin), `{"name": " ", "host": "a b", "helo": "x y", "username": "u", "from_domains": ["localhost"], "retry_schedule": ["soon", "1ms"],
		"give_up_after": "1s", "ca_cert": "x"}`), 422, api.CodeInvalid)
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Pointer+" "+string(e.Code))
	}
	want := "/host wrong_format|/helo wrong_format|/from_domains/0 wrong_format|/retry_schedule/0 wrong_format|/retry_schedule/1 out_of_range|/name invalid|/password required|/ca_cert wrong_format|/give_up_after out_of_range"
	if strings.Join(got, "|") != want {
		t.Errorf("errors are\n%s\nwant\n%s", strings.Join(got, "|"), want)
	}
}

func TestDefaultRelay(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.relay(in.a, func(n *store.NewRelay) { n.Name = "one" })
	two := in.relay(in.a, func(n *store.NewRelay) { n.Name = "two" })
	foreign := in.relay(in.b)
	admin := in.token(in.a.admin)
	p := refused(t, in.post("/v1/messages", admin, hello), 422, api.CodeInvalid)
	if p.Errors[0].Pointer != "/relay_id" {
		t.Errorf("errors %+v", p.Errors)
	}
	for _, id := range []string{foreign.ID.String(), "x", in.a.id.String()} {
		p := refused(t, in.call("PATCH", "/v1/tenant/settings", admin, `{"default_relay_id": "`+id+`"}`), 422, api.CodeInvalid)
		if p.Errors[0].Code != api.FieldUnknownRelay {
			t.Errorf("%s: %+v", id, p.Errors)
		}
	}
	if got := read[api.Settings](t, in.call("PATCH", "/v1/tenant/settings", admin, `{"default_relay_id": "`+two.ID.String()+`"}`), 200); got.DefaultRelayID != two.ID.String() {
		t.Errorf("settings %+v", got)
	}
	if got := read[api.AcceptedMessage](t, in.post("/v1/messages", admin, hello), 202); got.RelayID != two.ID.String() {
		t.Errorf("accepted %+v", got)
	}
	if got := read[api.Settings](t, in.call("PATCH", "/v1/tenant/settings", admin, `{"default_relay_id": ""}`), 200); got.DefaultRelayID != "" {
		t.Errorf("settings %+v", got)
	}
}

func TestCheckRelay(t *testing.T) {
	t.Parallel()
	server := smtptest.StartT(t, smtptest.Config{})
	addr := netip.MustParseAddrPort(server.Addr())
	in := install(t, func(c *httpapi.Config) {
		c.Egress = must(egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}))
	})
	relay := in.relay(in.a, func(n *store.NewRelay) { n.Host, n.Port, n.TLS = "127.0.0.1", int(addr.Port()), "none" })
	type report struct {
		OK           bool
		Error, Phase string
		Extensions   map[string]string
	}
	admin := in.token(in.a.admin)
	got := read[report](t, in.call("POST", "/v1/relays/"+relay.ID.String()+"/check", admin, nil), 200)
	if !got.OK || len(got.Extensions) == 0 {
		t.Errorf("report %+v", got)
	}
	// Where the operator allows nothing private, the report says what would allow it.
	strict, _ := in.serverOf()
	w := call(t, strict.Handler(), "POST", "/v1/relays/"+relay.ID.String()+"/check", admin, nil)
	if got := read[report](t, w, 200); got.OK || !strings.Contains(got.Error, egress.SettingAllow) {
		t.Errorf("report %+v", got)
	}
}

func TestSharedRelay(t *testing.T) {
	t.Parallel()
	in := install(t)
	operator, admin := in.operator.Reveal(), in.token(in.a.admin)
	made := read[api.Relay](t, in.call("POST", "/v1/operator/relays", operator, `{"name": "shared", "host": "mail.example.com", "username": "u", "password": "geheim"}`), 201)
	if !made.Shared || made.Username != "u" {
		t.Errorf("made %+v", made)
	}
	path := "/v1/relays/" + made.ID
	refused(t, in.call("GET", path, admin, nil), 404, api.CodeNotFound)
	refused(t, in.post("/v1/messages", admin, hello), 422, api.CodeInvalid)
	grant := "/v1/operator/relays/" + made.ID + "/tenants/" + in.a.id.String()
	if w := in.call("PUT", grant, operator, nil); w.Code != 204 {
		t.Fatalf("share: %d %s", w.Code, w.Body)
	}
	if got := read[api.Relay](t, in.call("GET", path, admin, nil), 200); !got.Shared || got.Username != "" || got.HasPassword {
		t.Errorf("as the tenant sees it %+v", got)
	}
	refused(t, in.call("GET", path, in.token(in.b.admin), nil), 404, api.CodeNotFound)
	for method, sub := range map[string]string{"PATCH": "", "DELETE": "", "POST": "/pause"} {
		var body any
		if method != "DELETE" {
			body = `{}`
		}
		if w := in.call(method, path+sub, admin, body); w.Code != 403 && w.Code != 404 {
			t.Errorf("%s %s: status %d: %s", method, sub, w.Code, w.Body)
		}
	}
	read[api.AcceptedMessage](t, in.post("/v1/messages", admin, hello), 202)
	if w := in.call("POST", "/v1/operator/pause", operator, `{"reason": "fire"}`); w.Code != 204 {
		t.Errorf("pause all: %d %s", w.Code, w.Body)
	}
	sent := read[api.AcceptedMessage](t, in.post("/v1/messages", admin, hello), 202)
	if why := read[api.Explanation](t, in.call("GET", "/v1/messages/"+sent.ID+"/explain", admin, nil), 200); len(why.Reasons) == 0 || !strings.Contains(why.Reasons[0], "fire") {
		t.Errorf("explanation %+v", why)
	}
	if w := in.call("POST", "/v1/operator/resume", operator, nil); w.Code != 204 {
		t.Errorf("resume all: %d %s", w.Code, w.Body)
	}
	// What the server says of the operator's login is not the tenants' to know.
	if err := in.store.PauseAuth(t.Context(), uuid.MustParse(made.ID), "the login failed: 535 5.7.8 no such user u-of-operator", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, "/v1/relays", "/v1/messages/" + sent.ID + "/explain", "/v1/messages/" + sent.ID} {
		if w := in.call("GET", path, admin, nil); w.Code != 200 || strings.Contains(w.Body.String(), "u-of-operator") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if got := read[api.Relay](t, in.call("GET", "/v1/operator/relays/"+made.ID, operator, nil), 200); got.Paused == nil || !strings.Contains(got.Paused.Reason, "u-of-operator") {
		t.Errorf("the operator sees %+v", got.Paused)
	}
	if w := in.call("DELETE", grant, operator, nil); w.Code != 204 {
		t.Errorf("unshare: %d %s", w.Code, w.Body)
	}
	refused(t, in.post("/v1/messages", admin, hello), 422, api.CodeInvalid)
}

func TestEventsStatsInbox(t *testing.T) {
	t.Parallel()
	in := install(t)
	relay := in.relay(in.a)
	user, admin := in.token(in.a.user), in.token(in.a.admin)
	_, test := in.key(in.a.user, func(n *store.NewAPIKey) { n.Test = true })
	mailed := read[api.AcceptedMessage](t, in.post("/v1/messages", user, hello), 202)
	tested := read[api.AcceptedMessage](t, in.post("/v1/messages", test, hello), 202)
	first := read[api.Events](t, in.call("GET", "/v1/events?limit=1", admin, nil), 200)
	if len(first.Data) != 1 || first.Next != first.Data[0].Seq {
		t.Fatalf("events %+v", first)
	}
	all := read[api.Events](t, in.call("GET", "/v1/events", user, nil), 200)
	rest := read[api.Events](t, in.call("GET", "/v1/events?after="+itoa(int(first.Next)), user, nil), 200)
	if len(all.Data) == 0 || rest.Next != all.Next || len(rest.Data) > len(all.Data) {
		t.Errorf("events %+v, rest %+v", all, rest)
	}
	if none := read[api.Events](t, in.call("GET", "/v1/events?after="+itoa(int(all.Next)), user, nil), 200); len(none.Data) != 0 || none.Next != all.Next {
		t.Errorf("events %+v", none)
	}
	stats := read[api.Stats](t, in.call("GET", "/v1/stats", admin, nil), 200)
	if stats.Total.Accepted != 2 || len(stats.Relays) != 1 || stats.Relays[0].RelayID != relay.ID.String() {
		t.Errorf("stats %+v", stats)
	}
	if w := in.call("GET", "/v1/stats", user, nil); w.Code != 403 {
		t.Errorf("a user reads statistics: %d", w.Code)
	}
	refused(t, in.call("GET", "/v1/stats?from=2001-01-01T00:00:00Z", admin, nil), 422, api.CodeInvalid)
	if inbox := read[api.Messages](t, in.call("GET", "/v1/inbox", admin, nil), 200); len(inbox.Data) != 0 {
		t.Errorf("inbox before anything left: %+v", inbox)
	}
	in.settle(in.a, relay, store.Sent, "250", "2.0.0", "ok")
	for who, token := range map[string]string{"user": user, "admin": admin} {
		if inbox := read[api.Messages](t, in.call("GET", "/v1/inbox", token, nil), 200); len(inbox.Data) != 1 || inbox.Data[0].ID != tested.ID {
			t.Errorf("%s: inbox %+v, want %s and not %s", who, inbox, tested.ID, mailed.ID)
		}
	}
}
