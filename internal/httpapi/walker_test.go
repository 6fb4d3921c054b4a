package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/store/storetest"
)

// walker calls every operation that /openapi.json names, as everybody, about everybody's rows. A new operation is
// walked without a change here: rows of a kind that it does not know it makes by the operation that creates them.
type walker struct {
	*installation
	doc  document
	pair int
}

// who calls: with which credential, as which word of x-postrider-roles.
type who struct {
	name, word, kind string
	credential       func() string // a new token each time: some operations end the one that calls them
	tenant           *town         // nil: of none
}

// town is a tenant of the walker's, with a row of each kind.
type town struct {
	tenant
	rows    map[string]string // id by kind: the part of the path before the id
	markers []string          // what only this tenant may see
	key     string            // an API key of the admin's
}

// TestWalk: nobody gets in where the document does not say so, everybody gets in where it does, nobody can tell another
// tenant's rows from such as do not exist, and nothing answers 500.
func TestWalk(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, open storetest.Open) {
		t.Parallel()
		w := &walker{installation: installOn(t, open())}
		var all []operation
		w.doc, all = w.operations()
		for _, op := range all {
			t.Run(op.ID, func(t *testing.T) { w.walk(t, op) })
		}
	})
}

func (w *walker) walk(t *testing.T, op operation) {
	a, b := w.town(t), w.town(t)
	callers := w.callers(t, a, b)
	nobodys := uuid.Must(uuid.NewV7()).String()

	// Who may not: refused in one way, whatever the row.
	for _, c := range callers {
		if !c.may(op) {
			w.refusedEverywhere(t, op, c, []string{a.row(w, op), b.row(w, op), nobodys})
		}
	}
	// Who may, about rows of others: as about nobody's. Some of these calls are not about a row at all and take effect
	// for the caller; so nothing is compared with how it was before, but for the other tenant.
	for _, c := range callers {
		if c.may(op) && c.tenant != nil {
			other := b
			if c.tenant == b {
				other = a
			}
			state := w.snapshot(other)
			w.sameAsNobodys(t, op, c, other, nobodys)
			if got := w.snapshot(other); got != state {
				t.Errorf("%s changed %s's rows: %s, before %s", c.name, other.name, got, state)
			}
		}
	}
	// Who may, about own rows: let in, and at least once with success.
	succeeded := false
	for _, c := range callers {
		if c.may(op) {
			succeeded = w.letIn(t, op, c, nobodys) || succeeded
		}
	}
	if !succeeded && !slices.Contains([]string{"login", "refresh", "change-password", "retry-message", "delete-relay"}, op.ID) { // these need what cannot be guessed
		t.Error("nobody's call succeeded: has the walker what the operation needs?")
	}
}

// always is a credential that lasts.
func always(text string) func() string { return func() string { return text } }

// fresh makes a new token for each call, from a clock that is a little fast: so it is later than a revocation of all
// that were made before.
func (w *walker) fresh(u store.User) func() string {
	return func() string {
		fast := must(auth.NewIssuer(auth.IssuerConfig{Key: hmacKey(), Now: func() time.Time { return time.Now().Add(10 * time.Second) }}))
		return must(fast.Issue(auth.Grant{TenantID: u.TenantID.String(), UserID: u.ID.String(), Role: u.Role})).Token.Reveal()
	}
}

// refusedEverywhere: 401 for who is nobody, 403 for who is somebody else, with the same body for every row.
func (w *walker) refusedEverywhere(t *testing.T, op operation, c who, ids []string) {
	t.Helper()
	want := http.StatusForbidden
	if c.word == "" {
		want = http.StatusUnauthorized
	}
	var first string
	for _, id := range ids {
		for _, r := range op.requests(w.doc, id) {
			answer := w.call(op.method, r.path, c.credential(), r.body)
			if answer.Code != want {
				t.Errorf("%s: status %d, want %d: %s", c.name, answer.Code, want, answer.Body)
			}
			if got := anonymous(answer); first == "" {
				first = got
			} else if got != first {
				t.Errorf("%s can tell rows apart: %s and %s", c.name, got, first)
			}
		}
	}
}

// sameAsNobodys: another tenant's row is answered as none, and nothing of that tenant is in the answer.
func (w *walker) sameAsNobodys(t *testing.T, op operation, c who, other *town, nobodys string) {
	t.Helper()
	foreigners := other.ids()
	if !op.takesID(w.doc) {
		foreigners = foreigners[:1] // one will do
	}
	for _, foreign := range foreigners {
		theirs, nones := op.requests(w.doc, foreign), op.requests(w.doc, nobodys)
		byMore := func(a, b request) int { return strings.Compare(a.more, b.more) }
		slices.SortFunc(theirs, byMore)
		slices.SortFunc(nones, byMore)
		for i := range theirs {
			x := w.call(op.method, theirs[i].path, c.credential(), theirs[i].body)
			y := w.call(op.method, nones[i].path, c.credential(), nones[i].body)
			if x.Code >= 500 || x.Code != y.Code {
				t.Errorf("%s with %s: status %d for another tenant's row, %d for none: %s %s", c.name, theirs[i].more, x.Code, y.Code, x.Body, y.Body)
			}
			if x.Code >= 400 && anonymous(x) != anonymous(y) {
				t.Errorf("%s with %s can tell rows apart: %s and %s", c.name, theirs[i].more, anonymous(x), anonymous(y))
			}
			if strings.Contains(op.path, "{") && (x.Code < 400 || x.Code == http.StatusForbidden) {
				t.Errorf("%s reached %s: %d %s", c.name, theirs[i].path, x.Code, x.Body)
			}
			for _, marker := range other.markers {
				if strings.Contains(x.Body.String()+fmt.Sprint(x.Header()), marker) {
					t.Errorf("%s sees %q of another tenant: %s", c.name, marker, x.Body)
				}
			}
		}
	}
}

// letIn: the declared roles are really let in. It reports whether a call succeeded.
func (w *walker) letIn(t *testing.T, op operation, c who, id string) (succeeded bool) {
	t.Helper()
	switch {
	case c.tenant != nil:
		id = c.tenant.row(w, op)
	case c.word == "operator" && strings.HasPrefix(op.path, "/v1/operator/relays/"):
		relay, err := w.store.Operator().CreateRelay(t.Context(), store.NewRelay{Name: uuid.NewString(), Host: "127.0.0.1", Port: 25, TLS: "none"}, store.Actor{Kind: store.ActorCommand})
		if err != nil {
			t.Fatal(err)
		}
		id = relay.ID.String()
		op.path = strings.ReplaceAll(op.path, "{tenant}", w.newTenant(t, "sharer-"+id).id.String())
	case c.word == "operator":
		id = w.newTenant(t, fmt.Sprintf("operators-%d", w.pair)).id.String()
	}
	for _, r := range op.requests(w.doc, id) {
		answer := w.call(op.method, r.path, c.credential(), r.body)
		if answer.Code >= 500 || answer.Code == http.StatusForbidden || answer.Code == http.StatusUnauthorized && !slices.Contains(op.Roles, "everyone") {
			t.Errorf("%s with %s: status %d: %s", c.name, r.more, answer.Code, answer.Body)
		}
		succeeded = succeeded || answer.Code < 300
	}
	return succeeded
}

// anonymous is an answer without what differs between any two.
func anonymous(w *httptest.ResponseRecorder) string {
	var body map[string]any
	if json.Unmarshal(w.Body.Bytes(), &body) == nil {
		delete(body, "request_id")
		return fmt.Sprint(w.Code, body, w.Header().Get("WWW-Authenticate"))
	}
	return fmt.Sprint(w.Code, w.Body.String())
}

// may reports what the document says.
func (c who) may(op operation) bool {
	return slices.Contains(op.Roles, "everyone") || c.word != "" && slices.Contains(op.Roles, c.word) && slices.Contains(op.Kinds, c.kind)
}

func (w *walker) callers(t *testing.T, a, b *town) []who {
	_, sending := w.key(a.user, func(n *store.NewAPIKey) { n.Scope = auth.ScopeSending })
	_, adminSending := w.key(a.admin, func(n *store.NewAPIKey) { n.Scope = auth.ScopeSending })
	revokedKey, revoked := w.key(a.admin)
	if err := w.store.Tenant(a.id).RevokeAPIKey(t.Context(), revokedKey.ID(), store.Actor{}); err != nil {
		t.Fatal(err)
	}
	_, userKey := w.key(a.user)
	expired := must(must(auth.NewIssuer(auth.IssuerConfig{Key: hmacKey(), Now: func() time.Time { return time.Now().Add(-time.Hour) }})).
		Issue(auth.Grant{TenantID: a.id.String(), UserID: a.admin.ID.String(), Role: auth.RoleAdmin, Lifetime: time.Minute}))
	stranger := must(w.issuer.Issue(auth.Grant{TenantID: uuid.NewString(), UserID: uuid.NewString(), Role: auth.RoleAdmin}))
	return []who{
		{name: "nobody", credential: always("")},
		{name: "a revoked key", credential: always(revoked)},
		{name: "an expired token", credential: always(expired.Token.Reveal())},
		{name: "a token of an unknown tenant", credential: always(stranger.Token.Reveal()), word: "stranger"},
		{name: "a sending-only key", credential: always(sending), word: "sending", kind: "api_key", tenant: a},
		{name: "a sending-only key of an admin", credential: always(adminSending), word: "sending", kind: "api_key", tenant: a},
		{name: "a user's key", credential: always(userKey), word: "user", kind: "api_key", tenant: a},
		{name: "an admin's key", credential: always(a.key), word: "admin", kind: "api_key", tenant: a},
		{name: "user of A", credential: w.fresh(a.user), word: "user", kind: "token", tenant: a},
		{name: "user of B", credential: w.fresh(b.user), word: "user", kind: "token", tenant: b},
		{name: "admin of B", credential: w.fresh(b.admin), word: "admin", kind: "token", tenant: b},
		{name: "admin of A", credential: w.fresh(a.admin), word: "admin", kind: "token", tenant: a},
		{name: "the operator", credential: always(w.operator.Reveal()), word: "operator", kind: "operator"},
	}
}

// town makes a tenant with users and rows.
func (w *walker) town(t *testing.T) *town {
	t.Helper()
	w.pair++
	name := fmt.Sprintf("town-%d", w.pair)
	x := &town{tenant: w.newTenant(t, name), rows: map[string]string{}}
	key, text := w.key(x.admin)
	x.key = text
	x.rows["users"], x.rows["api-keys"], x.rows["tenants"] = x.user.ID.String(), key.ID().String(), x.id.String()
	relay := w.relay(x.tenant, func(n *store.NewRelay) { n.Host, n.TLS = "127.0.0.1", "none" })
	x.rows["relays"], x.rows["messages"] = relay.ID.String(), read[struct{ ID string }](t, w.post("/v1/messages", w.token(x.user), hello), 202).ID
	x.markers = append(x.markers, name+".example", x.admin.ID.String())
	for _, id := range x.rows {
		x.markers = append(x.markers, id)
	}
	return x
}

func (x *town) ids() []string {
	var ids []string
	for _, id := range x.rows {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// row is the id of a row of the kind that op is about: /v1/users/{id} is about users. An unknown kind is made by the
// operation that creates such rows, if there is one.
func (x *town) row(w *walker, op operation) string {
	at := strings.Index(op.path, "/{")
	if at < 0 {
		return x.user.ID.String()
	}
	collection := op.path[:at]
	kind := collection[strings.LastIndexByte(collection, '/')+1:]
	if id, known := x.rows[kind]; known {
		return id
	}
	create, ok := w.doc.Paths[collection]["post"]
	if ok {
		create.method, create.path = http.MethodPost, collection
		body, _ := create.body(w.doc, x.user.ID.String())
		answer := w.call(http.MethodPost, collection, w.token(x.admin), body)
		var made struct{ ID string }
		if answer.Code < 300 && json.NewDecoder(bytes.NewReader(answer.Body.Bytes())).Decode(&made) == nil && made.ID != "" {
			x.rows[kind] = made.ID
			x.markers = append(x.markers, made.ID)
			return made.ID
		}
	}
	w.t.Errorf("the walker has no row for %s: make one in walker.town", op.path)
	return x.user.ID.String()
}

// snapshot tells whether somebody changed a tenant.
func (w *walker) snapshot(x *town) string {
	ctx := w.t.Context()
	tenant := w.store.Tenant(x.id)
	var parts []any
	for _, id := range []uuid.UUID{x.admin.ID, x.user.ID} {
		user := must(tenant.User(ctx, id))
		st := must(tenant.Standing(ctx, id))
		parts = append(parts, user, st)
	}
	key := must(tenant.APIKey(ctx, uuid.MustParse(x.rows["api-keys"])))
	key.LastUsedAt, key.LastUsedFrom = time.Time{}, key.LastUsedFrom.Unmap()
	users, _, err := tenant.Users(ctx, store.Page{Limit: 200})
	keys, _, keysErr := tenant.APIKeys(ctx, store.Page{Limit: 200}, uuid.Nil)
	relays, _, relaysErr := tenant.Relays(ctx, store.Page{Limit: 200})
	messages, _, messagesErr := tenant.Messages(ctx, store.MessageFilter{}, store.Page{Limit: 200})
	parts = append(parts, relays, relaysErr, messages, messagesErr)
	parts = append(parts, key, must(tenant.Settings(ctx)), must(tenant.Record(ctx)), must(tenant.Quotas(ctx)), len(users), err, len(keys), keysErr)
	return fmt.Sprint(parts...)
}
