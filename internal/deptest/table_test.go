package deptest

import (
	"slices"
	"strings"
)

// module is the path before every package of ours.
const module = "github.com/postrider/postrider"

// anything, in row.imports, is every package of ours but those for tests only.
const anything = "*"

// row says what one package may import outside of its tests. Packages are named by
// their directory; the root package is ".".
type row struct {
	path    string
	imports []string // packages of ours
	reason  string   // why it may import no more of ours

	// public packages bring nobody a library but the one they are about. libraries are
	// prefixes of import paths that may be imported beside the standard library and
	// golang.org/x; brings are what those libraries import in their turn.
	public    bool
	libraries []string
	brings    []string

	testOnly bool // imported by tests only
	tree     bool // the row is for the packages below it too
}

// table returns who may import whom. A row may stand here before its package does.
func table() []row {
	const (
		ground  = "a ground package: it works without the rest of Postrider"
		service = "calls run down only, and the two lanes of the service meet in internal/store alone"
	)
	return []row{
		// What a Go program can want without running the service.
		{path: ".", public: true, imports: []string{"mail", "smtp", "smtppool", "retry"}, reason: "the front door is a thin layer over the public packages"},
		{path: "mail", public: true, reason: ground, libraries: []string{"github.com/segmentio/asm/"}},
		{path: "mail/dkim", public: true, imports: []string{"mail"}, reason: "it signs what package mail composed", libraries: []string{"github.com/emersion/go-msgauth/"}},
		{path: "smtp", public: true, imports: []string{"smtp/sasl"}, reason: "a conversation carries octets: it knows no message and no pool"},
		{path: "smtp/sasl", public: true, reason: ground, libraries: []string{"github.com/xdg-go/scram"}, brings: []string{"github.com/xdg-go/stringprep", "github.com/xdg-go/pbkdf2"}},
		{path: "smtp/smtptest", public: true, imports: []string{"smtp"}, reason: "a server for tests needs the words of SMTP only", libraries: []string{"github.com/xdg-go/scram"}, brings: []string{"github.com/xdg-go/stringprep", "github.com/xdg-go/pbkdf2"}},
		{path: "smtppool", public: true, imports: []string{"smtp"}, reason: "it holds connections and knows no message"},
		{path: "retry", public: true, reason: ground},
		// auth is about credentials: golang-jwt computes signatures, argon2id hashes passwords, and tenants and users are UUIDs.
		{path: "auth", public: true, reason: ground, libraries: []string{"github.com/golang-jwt/jwt/v5", "github.com/alexedwards/argon2id", "github.com/google/uuid"}},
		{path: "ratelimit", public: true, reason: ground},
		{path: "ratelimit/redislimit", public: true, imports: []string{"ratelimit"}, reason: "the same limiter in Redis", libraries: []string{"github.com/redis/go-redis/v9"}, brings: []string{"github.com/cespare/xxhash/v2", "github.com/dgryski/go-rendezvous", "go.uber.org/atomic"}},
		{path: "api", public: true, reason: ground},

		// The service.
		{path: "internal/config", reason: "it reads settings; only cmd imports it, all others get plain values"},
		{path: "internal/egress", reason: ground},
		{path: "internal/seal", reason: ground},
		{path: "internal/telemetry", reason: ground},
		{path: "internal/report", reason: ground},
		{path: "internal/oauth", imports: []string{"internal/egress"}, reason: service},
		{path: "internal/store", imports: []string{"auth"}, reason: "rows and transactions: it knows the principal and nobody above"},
		{path: "internal/submission", imports: []string{"auth", "mail", "mail/dkim", "internal/store", "internal/seal"}, reason: "it accepts and never sends: " + service},
		{path: "internal/delivery", imports: []string{"smtp", "smtppool", "retry", "internal/store", "internal/egress", "internal/oauth", "internal/seal"}, reason: "it sends and never accepts: " + service},
		{path: "internal/dispatch", imports: []string{"internal/delivery", "internal/store"}, reason: service},
		{path: "internal/webhook", imports: []string{"internal/store", "internal/egress", "internal/seal"}, reason: service},
		{path: "internal/jobs", imports: []string{"internal/webhook", "internal/store", "internal/report"}, reason: service},
		{path: "internal/httpapi", imports: []string{"api", "auth", "ratelimit", "internal/submission", "internal/store", "internal/seal", ".", "internal/egress", "internal/httpapi/resend", "internal/httpapi/intake", "mail"}, reason: "it answers the caller and never sends: " + service},
		{path: "internal/httpapi/intake", imports: []string{"mail", "internal/submission"}, reason: "it reads requests and judges their shape alone"},
		{path: "internal/httpapi/resend", imports: []string{"api", "auth"}, reason: "a translation, nothing more"},
		{path: "internal/dashboard", imports: []string{"auth", "internal/store", "internal/submission"}, reason: service},

		// Programs, and what is theirs alone.
		{path: "internal/merge", imports: []string{".", "mail", "smtp"}, reason: "it fills in messages and hands them to the client that it is given"},
		{path: "internal/inbox", imports: []string{"mail", "smtp", "smtp/smtptest"}, reason: "it receives and never sends"},
		{path: "cmd/postrider", tree: true, imports: []string{anything}, reason: "a program does not run on what only tests may use"},
		{path: "bench", tree: true, imports: []string{anything, "internal/relaytest"}},
		{path: "examples", tree: true, imports: []string{".", "mail", "mail/dkim", "smtp", "smtp/sasl", "smtp/smtptest", "smtppool", "retry"}, reason: "an example shows what every user can import"},
		{path: "internal/testsum", reason: "it runs before anything else is known to build"},

		// For tests only.
		{path: "internal/relaytest", testOnly: true, reason: "real servers know nothing of the client under test"},
		{path: "internal/pgtest", testOnly: true, reason: "real servers know nothing of the client under test"},
		{path: "internal/store/storetest", testOnly: true, imports: []string{"internal/store", "internal/pgtest"}, reason: "it opens stores for tests of them and of what stands above"},
		{path: "internal/tokenattack", testOnly: true, imports: []string{"auth"}, reason: "it forges tokens for tests of auth and of what stands above"},
		{path: "internal/redistest", testOnly: true, reason: "real servers know nothing of the client under test"},
		{path: "internal/chaos", testOnly: true, reason: "it reaches the program by HTTP and SMTP alone"},
		{path: "internal/operation", testOnly: true, reason: "it reaches the program by its commands, HTTP and SMTP; of the store it asks the version of the tables"},
		{path: "internal/deptest", testOnly: true, reason: "it reads the source and imports none"},
	}
}

// testLibraries are what tests, and nothing else, may import beside the standard
// library, golang.org/x and what the packages themselves import: tools of the trade,
// and independent implementations to test against.
func testLibraries() []string {
	return []string{
		"github.com/MicahParks/jwkset", // writes key sets that auth reads
		"github.com/alecthomas/kong",   // what the program is asked by its deployment files
		"github.com/emersion/go-message",
		"github.com/emersion/go-msgauth",
		"github.com/emersion/go-sasl",
		"github.com/emersion/go-smtp",
		"github.com/golang-jwt/jwt/v5",
		"github.com/google/uuid",
		"github.com/jackc/pgx/v5",             // a client of its own beside the store
		"github.com/knadh/koanf/parsers/yaml", // reads deployment files
		"github.com/prometheus/client_golang", // the registry that alert rules are held against
		"github.com/redis/go-redis/v9",        // the client that ratelimit/redislimit is given
		"github.com/rogpeppe/go-internal/testscript",
		"github.com/xdg-go/scram",
		"github.com/rs/cors", // in an example of auth: a browser front end
		"go.uber.org/goleak",
		"pgregory.net/rapid",
	}
}

// find returns the row that a package, named by its directory, obeys: its own, that of
// a tree it stands in, or, for mail/internal/x, that of mail.
func find(rows []row, dir string) (row, bool) {
	for _, r := range rows {
		if r.path == dir || r.tree && strings.HasPrefix(dir, r.path+"/") {
			return r, true
		}
	}
	if i := strings.LastIndex(dir, "/internal/"); i > 0 {
		return find(rows, dir[:i])
	}
	return row{}, false
}

// mayImport reports whether r's package may import the package of ours in dir.
func (r row) mayImport(rows []row, dir string) bool {
	if r.path == dir || slices.Contains(r.imports, dir) || r.tree && strings.HasPrefix(dir, r.path+"/") {
		return true
	}
	// mail/internal/x is private to mail and to what stands below it; Go guards the rest.
	if i := strings.LastIndex(dir, "/internal/"); i > 0 {
		owner := dir[:i]
		return r.path == owner || strings.HasPrefix(r.path, owner+"/")
	}
	to, known := find(rows, dir)
	return known && !to.testOnly && slices.Contains(r.imports, anything)
}

// mayImportLibrary reports whether r's package may import a package that is neither
// ours nor the standard library's.
func (r row) mayImportLibrary(path string) bool {
	return !r.public || isExtended(path) || underAny(path, r.libraries)
}

// isExtended reports whether path belongs to the Go project's own modules.
func isExtended(path string) bool { return strings.HasPrefix(path, "golang.org/x/") }

// underAny reports whether path is one of the prefixes, or below one.
func underAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		p = strings.TrimSuffix(p, "/")
		return path == p || strings.HasPrefix(path, p+"/")
	})
}
