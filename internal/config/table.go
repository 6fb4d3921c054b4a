package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// EnvPrefix begins the names of our environment variables.
const EnvPrefix = "POSTRIDER_"

// setting is one row of the table.
type setting struct {
	key         string // as in the file; upper case and with EnvPrefix in the environment, with hyphens as a flag
	group       string // heading of help and reference
	def         string // default; empty: none
	placeholder string // of the flag's value
	help        string // one or two sentences
	secret      bool   // never shown; may come from a file; no flag, since others can read command lines
	url         bool   // with secret: has a flag all the same, and scheme and host are shown
	isBool      bool   // the flag needs no value
	list        bool   // in the file also a YAML list, or a map for NAME=VALUE
	mayBeEmpty  bool   // an empty value is one, though there is a default
	shown       string // default as the reference tells it, if def does not
	alias       string // another environment variable that is read if ours is not set
	set         func(s *Settings, text string) error
}

// env is the name of the environment variable.
func (r *setting) env() string { return EnvPrefix + strings.ToUpper(r.key) }

// flag is the name of the flag, without its hyphens in front.
func (r *setting) flag() string { return strings.ReplaceAll(r.key, "_", "-") }

// The headings, in their order.
const (
	groupStore   = "Data and databases"
	groupHTTP    = "HTTP"
	groupTokens  = "Tokens and keys"
	groupLimits  = "Limits"
	groupBrowser = "Browsers and proxies"
	groupWatch   = "Logs, metrics and traces"
	groupMail    = "Delivery"
	groupNodes   = "Several nodes"
)

func groups() []string {
	return []string{groupStore, groupHTTP, groupTokens, groupLimits, groupBrowser, groupWatch, groupMail, groupNodes}
}

// table is every setting of the service.
func table() []setting {
	return slices.Concat(storeSettings(), httpSettings(), tokenSettings(), limitSettings(), watchSettings(), mailSettings(), nodeSettings())
}

func storeSettings() []setting {
	return []setting{
		{key: "data", group: groupStore, placeholder: "DIR", help: "Data directory: the database of the embedded default, and key files. Required unless `database_url` is set.", set: text(func(s *Settings) *string { return &s.Data })},
		{key: "database_url", group: groupStore, placeholder: "URL", secret: true, url: true, help: "PostgreSQL, for requests: `postgres://user:password@host:5432/name`. Its login should be a plain member of the role `postrider_api`. Without it the service keeps everything in SQLite in the data directory.", set: databaseURL(func(s *Settings) *Secret { return &s.DatabaseURL })},
		{key: "delivery_database_url", group: groupStore, placeholder: "URL", secret: true, url: true, shown: "`database_url`", help: "PostgreSQL, for delivery and upkeep: a login that is a member of `postrider_delivery`.", set: databaseURL(func(s *Settings) *Secret { return &s.DeliveryDatabaseURL })},
		{key: "migration_database_url", group: groupStore, placeholder: "URL", secret: true, url: true, shown: "`database_url`", help: "PostgreSQL, for `migrate`, `setup` and `serve --migrate`: a login that owns the tables and may make roles.", set: databaseURL(func(s *Settings) *Secret { return &s.MigrationDatabaseURL })},
		{key: "redis_url", group: groupStore, placeholder: "URL", secret: true, url: true, help: "Redis, in which several nodes count rate limits together: `redis://`, `rediss://` or `unix://`. Without it each node counts for itself.", set: urlOf(func(s *Settings) *Secret { return &s.RedisURL }, "redis://host:6379/0", "redis", "rediss", "unix")},
		{key: "retain_content", group: groupStore, def: "30d", placeholder: "TIME", help: "How long the content of a message is kept after it ended; without it a message cannot be sent once more.", set: duration(func(s *Settings) *time.Duration { return &s.RetainContent }, time.Hour, retainMost)},
		{key: "retain_messages", group: groupStore, def: "90d", placeholder: "TIME", help: "How long messages are kept after they ended, with their recipients and attempts.", set: duration(func(s *Settings) *time.Duration { return &s.RetainMessages }, time.Hour, retainMost)},
		{key: "retain_events", group: groupStore, def: "90d", placeholder: "TIME", help: "How long events are kept.", set: duration(func(s *Settings) *time.Duration { return &s.RetainEvents }, time.Hour, retainMost)},
		{key: "min_free_space", group: groupStore, def: "256MiB", placeholder: "SIZE", help: "Room on the disk of the data directory that is left for recording what was sent: below it nothing is accepted in SQLite. 0: it is not looked at.", set: size(func(s *Settings) *int64 { return &s.MinFreeSpace }, 0, 1<<50)},
	}
}

// retainMost is for ever: a hundred years.
const retainMost = 36500 * 24 * time.Hour

func httpSettings() []setting {
	return []setting{
		{key: "listen", group: groupHTTP, def: "127.0.0.1:8025", placeholder: "ADDR", list: true, help: "Addresses to listen on, separated by commas; port 0 picks a free one.", set: addresses(func(s *Settings) *[]string { return &s.Listen })},
		{key: "tls_cert", group: groupHTTP, placeholder: "FILE", help: "Certificate chain (PEM), with `tls_key`; read again on SIGHUP and when the files change. Without both the service speaks HTTP.", set: text(func(s *Settings) *string { return &s.TLSCert })},
		{key: "tls_key", group: groupHTTP, placeholder: "FILE", help: "Private key of the certificate (PEM).", set: text(func(s *Settings) *string { return &s.TLSKey })},
		{key: "hostname", group: groupHTTP, shown: "this host's name", placeholder: "NAME", help: "Name of this node: in logs, and in EHLO to relays that have none of their own.", set: hostname},
		{key: "body_limit", group: groupHTTP, def: "1MiB", placeholder: "SIZE", help: "Largest request body, for all routes but those that take messages.", set: size(func(s *Settings) *int64 { return &s.BodyLimit }, 1<<10, 1<<30)},
		{key: "message_limit", group: groupHTTP, def: "768MiB", placeholder: "SIZE", help: "Largest request body of the routes that take messages. What does not fit in memory waits in the data directory.", set: size(func(s *Settings) *int64 { return &s.MessageLimit }, 1<<10, 16<<30)},
		{key: "upload_space", group: groupHTTP, def: "8GiB", placeholder: "SIZE", help: "Disk that the uploads under way may take up together; what comes more is answered with 503 and may be tried again.", set: size(func(s *Settings) *int64 { return &s.UploadSpace }, 1<<20, 1<<50)},
		{key: "read_header_timeout", group: groupHTTP, def: "10s", placeholder: "TIME", help: "How long a client may take for the header of a request.", set: duration(func(s *Settings) *time.Duration { return &s.ReadHeaderTimeout }, time.Second, time.Hour)},
		{key: "read_timeout", group: groupHTTP, def: "30s", placeholder: "TIME", help: "How long a client may take to send a request's body; for each 64 KiB a second is added.", set: duration(func(s *Settings) *time.Duration { return &s.ReadTimeout }, time.Second, 24*time.Hour)},
		{key: "write_timeout", group: groupHTTP, def: "30s", placeholder: "TIME", help: "How long a client may take to read each 256 KiB of an answer.", set: duration(func(s *Settings) *time.Duration { return &s.WriteTimeout }, time.Second, 24*time.Hour)},
		{key: "idle_timeout", group: groupHTTP, def: "2m", placeholder: "TIME", help: "How long a connection without a request is kept.", set: duration(func(s *Settings) *time.Duration { return &s.IdleTimeout }, time.Second, 24*time.Hour)},
		{key: "shutdown_timeout", group: groupHTTP, def: "30s", placeholder: "TIME", help: "How long requests in flight may take to finish after SIGTERM.", set: duration(func(s *Settings) *time.Duration { return &s.ShutdownTimeout }, 0, time.Hour)},
	}
}

func limitSettings() []setting {
	return []setting{
		{key: "rate_limit", group: groupLimits, def: "50/1m", placeholder: "N/TIME", help: "Requests of one user in any such time; `off` for no limit.", set: text(func(s *Settings) *string { return &s.RateLimit })},
		{key: "rate_limit_api_key", group: groupLimits, def: "6000/1m", placeholder: "N/TIME", help: "Requests with all API keys of one user together.", set: text(func(s *Settings) *string { return &s.RateLimitAPIKey })},
		{key: "rate_limit_address", group: groupLimits, def: "50/1m", placeholder: "N/TIME", help: "Requests without valid credentials from one address (IPv6: from one /64).", set: text(func(s *Settings) *string { return &s.RateLimitAddress })},
		{key: "rate_limit_operator", group: groupLimits, def: "300/1m", placeholder: "N/TIME", help: "Requests with the operator key.", set: text(func(s *Settings) *string { return &s.RateLimitOperator })},
		{key: "rate_limit_login", group: groupLimits, def: "10/15m", placeholder: "N/TIME", help: "Failed logins to one account, whether it exists or not.", set: text(func(s *Settings) *string { return &s.RateLimitLogin })},
		{key: "rate_limit_login_address", group: groupLimits, def: "30/15m", placeholder: "N/TIME", help: "Failed logins from one address.", set: text(func(s *Settings) *string { return &s.RateLimitLoginAddress })},
		{key: "rate_limit_routes", group: groupLimits, placeholder: "ROUTE=N/TIME", list: true, help: "Further limits for single routes, separated by commas; a route is an operation id of `/openapi.json`.", set: pairs(func(s *Settings) *[]Pair { return &s.RateLimitRoutes }, "ROUTE=50/1m")},
		{key: "rate_limit_redis_away", group: groupLimits, def: "memory", placeholder: "WHAT", help: "While Redis is away: `memory` counts in each node, `refuse` answers 503.", set: oneOf(func(s *Settings) *string { return &s.RateLimitRedisAway }, "memory", "refuse")},
		{key: "trusted_proxies", group: groupBrowser, placeholder: "NETS", list: true, help: "Addresses and networks of proxies whose X-Forwarded-For counts, separated by commas.", set: networks(func(s *Settings) *[]netip.Prefix { return &s.TrustedProxies })},
		{key: "cors_origins", group: groupBrowser, def: "http://localhost:3000", placeholder: "ORIGINS", list: true, help: "Origins whose pages may read answers, separated by commas, each exact; `none` for no origin. There is no wildcard.", set: origins(func(s *Settings) *[]string { return &s.CORSOrigins })},
		{key: "cors_credentials", group: groupBrowser, def: "false", isBool: true, help: "Whether those pages may send cookies and other credentials of the browser.", set: boolean(func(s *Settings) *bool { return &s.CORSCredentials })},
	}
}

func watchSettings() []setting {
	return []setting{
		{key: "log_format", group: groupWatch, def: "json", placeholder: "FORMAT", help: "`json` or `text`; to standard error.", set: oneOf(func(s *Settings) *string { return &s.LogFormat }, "json", "text")},
		{key: "log_level", group: groupWatch, def: "info", placeholder: "LEVEL", help: "`debug`, `info`, `warn` or `error`.", set: oneOf(func(s *Settings) *string { return &s.LogLevel }, "debug", "info", "warn", "error")},
		{key: "metrics_listen", group: groupWatch, placeholder: "ADDR", help: "Address that serves `/metrics`, and nothing else, to everybody without credentials. It is served on `listen` in any case, to this machine, `metrics_allow` and the operator.", set: address(func(s *Settings) *string { return &s.MetricsListen })},
		{key: "metrics_allow", group: groupWatch, placeholder: "NETS", list: true, help: "Networks that may read `/metrics` without the operator key, separated by commas.", set: networks(func(s *Settings) *[]netip.Prefix { return &s.MetricsAllow })},
		{key: "otlp_endpoint", group: groupWatch, placeholder: "URL", alias: "OTEL_EXPORTER_OTLP_ENDPOINT", help: "Where traces go by OTLP over HTTP, such as `http://collector:4318`; also read from OTEL_EXPORTER_OTLP_ENDPOINT. Without it nothing is traced.", set: httpURL(func(s *Settings) *string { return &s.OTLPEndpoint })},
	}
}

func mailSettings() []setting {
	return []setting{
		{key: "egress_allow", group: groupMail, placeholder: "NETS", list: true, help: "Networks that tenants' hosts may be in although they are private or local, separated by commas: `127.0.0.1` for a Postfix beside the service.", set: networks(func(s *Settings) *[]netip.Prefix { return &s.EgressAllow })},
		{key: "egress_ports", group: groupMail, shown: "25, 465, 587, 2525", placeholder: "PORTS", list: true, help: "Ports of relays, separated by commas.", set: ports(func(s *Settings) *[]int { return &s.EgressPorts })},
		{key: "max_concurrent_deliveries", group: groupMail, def: "100", placeholder: "N", help: "Deliveries that this node makes at the same time.", set: number(func(s *Settings) *int { return &s.MaxConcurrentDeliveries }, 1, 100_000)},
	}
}

func nodeSettings() []setting {
	return []setting{
		{key: "role", group: groupNodes, def: "all", placeholder: "ROLE", help: "What this node does: `api` takes requests and sends nothing, `delivery` empties the spool and answers /healthz, /readyz and /metrics only, `all` does both. Other than `all` needs `database_url`.", set: oneOf(func(s *Settings) *string { return &s.Role }, RoleAll, RoleAPI, RoleDelivery)},
		{key: "node_name", group: groupNodes, shown: "`hostname`", placeholder: "NAME", help: "Name of this node in `postrider nodes`.", set: text(func(s *Settings) *string { return &s.NodeName })},
		{key: "lock_database_url", group: groupNodes, placeholder: "URL", secret: true, url: true, shown: "`delivery_database_url`", help: "PostgreSQL itself, past any pooler, for the one session of this node that holds its rights to relays and hears announcements. Needed if the other URLs lead to a pooler; the login must be a member of `postrider_delivery`, and the same on all nodes.", set: databaseURL(func(s *Settings) *Secret { return &s.LockDatabaseURL })},
	}
}
