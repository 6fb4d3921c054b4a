package config

import (
	"net/netip"
	"time"
)

// Settings are the settings of the service, checked one by one and with each other. The table in docs/service.md says
// what each means; texts that other packages define (limits, keys) are as the user wrote them.
type Settings struct {
	Data   string   // data directory; empty only if DatabaseURL is set
	Listen []string // host:port, at least one

	DatabaseURL, DeliveryDatabaseURL, MigrationDatabaseURL Secret // PostgreSQL; empty: SQLite in Data
	RedisURL                                               Secret // empty: limits are counted in this process

	RetainContent, RetainMessages, RetainEvents time.Duration
	MinFreeSpace                                int64  // octets; 0: any
	Role                                        string // one of RoleAll, RoleAPI, RoleDelivery
	NodeName                                    string // empty: Hostname
	LockDatabaseURL                             Secret // PostgreSQL itself, not a pooler; empty: DeliveryDatabaseURL

	TLSCert, TLSKey string // files; both or none
	MetricsListen   string // host:port; empty: none of its own
	MetricsAllow    []netip.Prefix

	JWTSecret              Secret // 32 octets or more; empty: from Data
	JWTKeys                []Pair // key id and file, the first signs
	JWTIssuer, JWTAudience string // empty: not written and not asked for
	JWTExpiry              time.Duration
	RefreshExpiry          time.Duration

	JWKSURL, JWKSIssuer, JWKSAudience             string
	JWKSClaimTenant, JWKSClaimUser, JWKSClaimRole string
	JWKSRoles                                     []Pair // word of the provider and role
	TenantAutocreate                              bool
	OperatorKey                                   Secret
	OperatorKeyHash                               string // 64 hexadecimal digits
	SealKeyset, AuditKey                          Secret // empty: from Data
	RateLimit, RateLimitAPIKey                    string // as ratelimit.ParsePolicy reads it
	RateLimitAddress, RateLimitOperator           string
	RateLimitLogin, RateLimitLoginAddress         string
	RateLimitRoutes                               []Pair // route and limit
	RateLimitRedisAway                            string // memory or refuse
	TrustedProxies                                []netip.Prefix
	CORSOrigins                                   []string // none: no other origin may read answers
	CORSCredentials                               bool
	BodyLimit, MessageLimit, UploadSpace          int64 // octets
	ReadHeaderTimeout, ReadTimeout, WriteTimeout  time.Duration
	IdleTimeout, ShutdownTimeout                  time.Duration
	LogFormat, LogLevel                           string // json or text; debug, info, warn or error
	OTLPEndpoint                                  string
	EgressAllow                                   []netip.Prefix
	EgressPorts                                   []int // none: those of mail
	Hostname                                      string
	MaxConcurrentDeliveries                       int
	origins                                       map[string]origin
	shown                                         map[string]string // by key, as Print tells it: no secrets
	file                                          string            // the file they were read from
}

// What a node does.
const (
	RoleAll      = "all"
	RoleAPI      = "api"      // takes requests
	RoleDelivery = "delivery" // empties the spool
)

// Pair is one NAME=VALUE of a list.
type Pair struct{ Name, Value string }

// Embedded reports whether the service runs on SQLite in the data directory.
func (s *Settings) Embedded() bool { return s.DatabaseURL.IsZero() }

// Given reports whether the user set a setting, named by its key such as jwt_secret, anywhere.
func (s *Settings) Given(key string) bool { return s.origins[key].layer != layerDefault }

// FileOf is the file that a secret, named by its key such as seal_keyset, was read from; empty if from none.
func (s *Settings) FileOf(key string) string { return s.origins[key].from }

// File is the settings file that was read; empty if there was none.
func (s *Settings) File() string { return s.file }
