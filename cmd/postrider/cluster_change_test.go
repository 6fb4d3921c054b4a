package main

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/redistest"
	"github.com/postrider/postrider/smtp/smtptest"
)

// TestChangesReachAllNodes: what is changed at one node is in force at the others within seconds. A third one delivers.
func TestChangesReachAllNodes(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	c := newCluster(t, 0)
	other := smtptest.StartT(t, smtptest.Config{})
	c.settings["REDIS_URL"], c.settings["RATE_LIMIT_OPERATOR"] = redis.URL(), "60/1h"
	c.settings["EGRESS_PORTS"] += "," + strconv.Itoa(other.Port())
	a, b := c.node("a", "ROLE=api"), c.node("b", "ROLE=api")
	delivers := c.node("c", "ROLE=delivery")
	atA, atB := c.client(a, c.account.APIKey), c.client(b, c.account.APIKey)
	operator := c.client(a, c.operator)

	ask := func(client *api.Client) api.Code {
		_, err := client.Me(t.Context())
		if problem, is := errors.AsType[*api.Problem](err); is {
			return problem.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	send := func(relay string) api.Code {
		err := atB.Do(t.Context(), http.MethodPost, "/v1/messages", api.NewMessage{From: "a@example.com", To: []string{"b@example.net"}, TextBody: "x", RelayID: relay}, nil)
		if problem, is := errors.AsType[*api.Problem](err); is {
			return problem.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(what string, change func(), so func() bool) {
		t.Helper()
		if so() {
			t.Errorf("%s: it is so before the change", what)
		}
		change()
		t.Logf("%s: after %v", what, c.until(what, so).Round(time.Millisecond))
	}

	var user api.CreatedUser
	c.do(atA, http.MethodPost, "/v1/users", api.NewUser{Email: "u@example.com", Name: "U", Role: "user", Password: "a password that is long"}, &user)
	login := func() *api.Client {
		tokens, err := c.client(a, "").Login(t.Context(), api.LoginRequest{Tenant: "acme", Email: "u@example.com", Password: "a password that is long"})
		must(nil, err)
		return c.client(b, tokens.AccessToken)
	}
	session := login()
	in("all tokens of a user revoked", func() { must(nil, atA.RevokeTokens(t.Context(), api.RevokeTokensRequest{UserID: user.ID})) }, func() bool { return ask(session) != "" })
	key, err := atA.CreateAPIKey(t.Context(), api.NewAPIKey{Name: "second"})
	must(nil, err)
	second := c.client(b, key.Key)
	in("a key revoked", func() { must(nil, atA.RevokeAPIKey(t.Context(), key.ID)) }, func() bool { return ask(second) != "" })
	in("the tenant suspended", func() { must(operator.SuspendTenant(t.Context(), c.account.TenantID)) }, func() bool { return ask(atB) != "" })
	in("the tenant resumed", func() { must(operator.ResumeTenant(t.Context(), c.account.TenantID)) }, func() bool { return ask(atB) == "" })

	relay := c.relays(atA, 1)[0]
	c.until("a message has arrived", func() bool { return send(relay) == "" && len(c.receiver.Transactions()) > 0 })
	in("another port of the relay", func() {
		port := other.Port()
		c.do(atA, http.MethodPatch, "/v1/relays/"+relay, map[string]int{"port": port}, nil)
	}, func() bool { return send(relay) == "" && len(other.Transactions()) > 0 })
	count := func() int { return len(other.Transactions()) }
	in("the relay paused", func() { c.do(atA, http.MethodPost, "/v1/relays/"+relay+"/pause", nil, nil) }, func() bool {
		before := count()
		if send(relay) != "" {
			t.Fatal("a message for a paused relay was not accepted")
		}
		wait := time.NewTimer(500 * time.Millisecond)
		defer wait.Stop()
		<-wait.C
		return count() == before
	})
	paused := count()
	in("the relay resumed", func() { c.do(atA, http.MethodPost, "/v1/relays/"+relay+"/resume", nil, nil) }, func() bool { return count() > paused })
	in("a quota", func() { must(nil, operator.SetQuotas(t.Context(), c.account.TenantID, api.Quotas{MessagesPerDay: 1})) }, func() bool { return send(relay) != "" })

	// The operator's requests are counted in Redis, whoever answers them.
	atOther := c.client(b, c.operator)
	in("a limit used up", func() {
		for range 100 {
			if _, err := operator.Nodes(t.Context()); err != nil {
				return
			}
		}
	}, func() bool {
		_, err := atOther.Nodes(t.Context())
		problem, is := errors.AsType[*api.Problem](err)
		return is && problem.Code == api.CodeRateLimited
	})
	for _, s := range []*serving{a, b, delivers} {
		if status := s.stop(); status != exitOK {
			t.Errorf("exit status %d:\n%s", status, s.text())
		}
	}
}
