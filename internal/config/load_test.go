package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/config"
)

// load reads settings with a data directory, from a file with the given content if there is any.
func load(t *testing.T, file string, environ []string, flags map[string]string) (*config.Settings, error) {
	t.Helper()
	src := config.Sources{Flags: map[string]string{"data": "d"}, Environ: environ, Hostname: "node1"}
	for k, v := range flags {
		src.Flags[k] = v
	}
	if file != "" {
		src.File = "postrider.yaml"
		if err := os.WriteFile(src.File, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Load(src)
}

func TestLayers(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := load(t, "rate_limit: 1/1m\njwt_expiry: 1h\nbody_limit: 2MiB\ncors_origins: [https://a.example, https://b.example]\njwt_keys: {new: n.pem, old: o.pem}\ncors_credentials: true\negress_ports: [25, 2525]\n",
		[]string{"POSTRIDER_RATE_LIMIT=2/1m", "POSTRIDER_JWT_EXPIRY=2h", "PATH=/bin", "POSTRIDER_RELAY=smtp://x", "POSTRIDER_TEST_X=1", "POSTRIDER_PORT_8025_TCP=tcp://1", "POSTRIDER_SERVICE_HOST=h", "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"},
		map[string]string{"rate_limit": "3/1m"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want any }{
		{s.RateLimit, "3/1m"},
		{s.JWTExpiry, 2 * time.Hour},
		{s.BodyLimit, int64(2 << 20)},
		{s.CORSOrigins, []string{"https://a.example", "https://b.example"}},
		{s.JWTKeys, []config.Pair{{Name: "new", Value: "n.pem"}, {Name: "old", Value: "o.pem"}}},
		{s.CORSCredentials, true},
		{s.EgressPorts, []int{25, 2525}},
		{s.OTLPEndpoint, "http://c:4318"},
		{s.RefreshExpiry, 30 * 24 * time.Hour},
		{s.Hostname, "node1"},
		{s.Listen, []string{"127.0.0.1:8025"}},
		{s.Given("rate_limit"), true},
		{s.Given("log_level"), false},
		{s.Fault("rate_limit", "x").Error(), "--rate-limit: x"},
		{s.Fault("jwt_expiry", "x").Error(), "POSTRIDER_JWT_EXPIRY: x"},
		{s.Fault("body_limit", "x").Error(), "postrider.yaml: body_limit: x"},
		{s.Fault("log_level", "x").Error(), "POSTRIDER_LOG_LEVEL: x"},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

// TestFaults gives each setting something wrong. Each fault is named as the user wrote it, and all are told.
func TestFaults(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("empty", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file    string
		environ []string
		flags   map[string]string
		want    []string
	}{
		{environ: []string{"POSTRIDER_JWT_SECRET=short"}, want: []string{"POSTRIDER_JWT_SECRET: it has 5 octets and must have 32 or more: make one with openssl rand -hex 32"}},
		{environ: []string{"POSTRIDER_RATE_LIMITS=1/1m", "POSTRIDER_XYZZY=1"}, want: []string{
			"POSTRIDER_RATE_LIMITS: there is no such setting: did you mean POSTRIDER_RATE_LIMIT?",
			"POSTRIDER_XYZZY: there is no such setting: docs/service.md lists them",
		}},
		{file: "listn: x\nlisten: {a: b}\nlog_level: [a]\n", want: []string{
			`postrider.yaml: listen: "a=b" is no address: write host:port, such as 127.0.0.1:8025, [::1]:8025 or :8025`,
			"postrider.yaml: listn: there is no such setting: did you mean listen?",
			"postrider.yaml: log_level: it must be one text, number, true or false; quote a text that YAML takes for something else",
		}},
		{file: "- secret\n", want: []string{`postrider.yaml: it is not YAML of the form "name: value" at line 1`}},
		{file: "listen: x\nlisten: y\n", want: []string{`postrider.yaml: it is not YAML of the form "name: value" at line 2`}},
		{flags: map[string]string{"cors_origins": "*", "cors_credentials": "maybe"}, want: []string{
			`--cors-credentials: "maybe" is neither true nor false`,
			`--cors-origins: "*": there is no wildcard, name each origin`,
		}},
		{environ: []string{"POSTRIDER_CORS_ORIGINS="}, want: []string{"POSTRIDER_CORS_ORIGINS: it is empty: leave it out for the default, http://localhost:3000"}},
		{environ: []string{"POSTRIDER_CORS_ORIGINS=https://A.example,https://b.example/,https://c.example:443,d.example"}, want: []string{
			`POSTRIDER_CORS_ORIGINS: "https://A.example": browsers write origins in lower case; "https://b.example/" is no origin: write https://app.example.com, without a path or a slash at its end; "https://c.example:443": browsers leave the default port out; "d.example" is no origin: write https://app.example.com, without a path or a slash at its end`,
		}},
		{flags: map[string]string{"data": ""}, want: []string{"--data: it is missing: give a directory to keep everything in, with --data DIR or POSTRIDER_DATA, or a PostgreSQL database with POSTRIDER_DATABASE_URL"}},
		{environ: []string{"POSTRIDER_DELIVERY_DATABASE_URL=postgres://u:hidden@h/d", "POSTRIDER_MIGRATION_DATABASE_URL=mysql://u:hidden@h/d"}, want: []string{
			"POSTRIDER_DELIVERY_DATABASE_URL: it has no effect without POSTRIDER_DATABASE_URL: give that too",
			"POSTRIDER_MIGRATION_DATABASE_URL: it is no URL of the form postgres://user:password@host:5432/name (special characters of a password are written %40 and so on)",
			"POSTRIDER_MIGRATION_DATABASE_URL: it has no effect without POSTRIDER_DATABASE_URL: give that too",
		}},
		{environ: []string{"POSTRIDER_REDIS_URL=http://:hidden@h"}, want: []string{"POSTRIDER_REDIS_URL: it is no URL of the form redis://host:6379/0 (special characters of a password are written %40 and so on)"}},
		{flags: map[string]string{"tls_cert": "c.pem"}, want: []string{"--tls-cert: it goes together with POSTRIDER_TLS_KEY, which is missing"}},
		{environ: []string{"POSTRIDER_JWKS_URL=http://id.example/keys"}, want: []string{
			"POSTRIDER_JWKS_AUDIENCE: it is missing: POSTRIDER_JWKS_URL needs it, since the provider makes tokens for others too",
			"POSTRIDER_JWKS_ISSUER: it is missing: POSTRIDER_JWKS_URL needs it, since the provider makes tokens for others too",
			"POSTRIDER_JWKS_URL: http is for this host only: write https://",
		}},
		{environ: []string{"POSTRIDER_JWKS_ISSUER=x"}, want: []string{"POSTRIDER_JWKS_ISSUER: it has no effect without POSTRIDER_JWKS_URL"}},
		{environ: []string{"POSTRIDER_OPERATOR_KEY=a", "POSTRIDER_OPERATOR_KEY_HASH=b"}, want: []string{"POSTRIDER_OPERATOR_KEY: POSTRIDER_OPERATOR_KEY_HASH is given too: leave one of them out"}},
		{environ: []string{"POSTRIDER_AUDIT_KEY=a", "POSTRIDER_AUDIT_KEY_FILE=empty"}, want: []string{
			"POSTRIDER_AUDIT_KEY_FILE: POSTRIDER_AUDIT_KEY is given too: leave one of them out",
			"POSTRIDER_AUDIT_KEY_FILE: empty is empty",
		}},
		{flags: map[string]string{"seal_keyset_file": "missing"}, want: []string{"--seal-keyset-file: open missing: no such file or directory"}},
		{environ: []string{"POSTRIDER_CONFIG=away.yaml"}, want: []string{"away.yaml: there is no such file"}},
		{environ: []string{
			"POSTRIDER_JWT_EXPIRY=1", "POSTRIDER_REFRESH_EXPIRY=400d", "POSTRIDER_BODY_LIMIT=10Mb", "POSTRIDER_READ_TIMEOUT=0s", "POSTRIDER_LOG_FORMAT=xml",
			"POSTRIDER_TRUSTED_PROXIES=10.0.0.1/8,x", "POSTRIDER_EGRESS_PORTS=0,70000,25", "POSTRIDER_RATE_LIMIT_ROUTES=a=1/1m,a=2/1m,b", "POSTRIDER_MAX_CONCURRENT_DELIVERIES=0",
			"POSTRIDER_METRICS_LISTEN=9090", "POSTRIDER_OTLP_ENDPOINT=https://u:hidden@h", "POSTRIDER_LISTEN=:1,,:2", "POSTRIDER_HOSTNAME=a b", "POSTRIDER_TLS_KEY=a\tb", "POSTRIDER_LISTEN_=1",
		}, want: []string{
			`POSTRIDER_BODY_LIMIT: "10Mb" is no size: write octets, or 64KiB, 25MiB, 1GiB`,
			`POSTRIDER_EGRESS_PORTS: "0" is no port; "70000" is no port`,
			`POSTRIDER_HOSTNAME: "a b" is no host name: letters, digits, hyphens and dots`,
			`POSTRIDER_JWT_EXPIRY: "1" is no time: write 30s, 15m, 24h or 30d`,
			`POSTRIDER_LISTEN: ":1,,:2" has an empty place between its commas`,
			`POSTRIDER_LISTEN_: there is no such setting: did you mean POSTRIDER_LISTEN?`,
			`POSTRIDER_LOG_FORMAT: "xml" is none of json, text`,
			`POSTRIDER_MAX_CONCURRENT_DELIVERIES: "0" is no number from 1 to 100000`,
			`POSTRIDER_METRICS_LISTEN: "9090" is no address: write host:port, such as 127.0.0.1:8025, [::1]:8025 or :8025`,
			`POSTRIDER_OTLP_ENDPOINT: it holds a user or a password, which would show in logs`,
			`POSTRIDER_RATE_LIMIT_ROUTES: a is there twice; "b" is not of the form ROUTE=50/1m`,
			`POSTRIDER_READ_TIMEOUT: 0s is not between 1s and 24h0m0s`,
			`POSTRIDER_REFRESH_EXPIRY: 400d is not between 1m0s and 8784h0m0s`,
			`POSTRIDER_TLS_KEY: it holds a control character`,
			`POSTRIDER_TRUSTED_PROXIES: 10.0.0.1/8 is an address within 10.0.0.0/8: write one of the two; "x" is no address or network: write 192.0.2.7, 10.0.0.0/8 or fd00::/8`,
		}},
	} {
		_, err := load(t, c.file, c.environ, c.flags)
		faults, ok := errors.AsType[config.Faults](err)
		if !ok {
			t.Errorf("%q %v: no faults, but %v", c.file, c.environ, err)
			continue
		}
		if got, want := faults.Error(), strings.Join(c.want, "\n"); got != want {
			t.Errorf("%q %v:\n%s\nwant\n%s", c.file, c.environ, got, want)
		}
		if strings.Contains(fmt.Sprintf("%+v", err), "hidden") {
			t.Errorf("a secret is in %v", err)
		}
	}
}

// TestEmpty is a service that is told to have no issuer, and no allowed origin.
func TestEmpty(t *testing.T) {
	t.Chdir(t.TempDir())
	s, err := load(t, "jwt_issuer:\n", []string{"POSTRIDER_JWT_AUDIENCE=", "POSTRIDER_CORS_ORIGINS=none", "POSTRIDER_REDIS_URL=", "POSTRIDER_EGRESS_ALLOW="}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.JWTIssuer != "" || s.JWTAudience != "" || s.CORSOrigins != nil || !s.RedisURL.IsZero() || s.EgressAllow != nil || !s.Embedded() {
		t.Errorf("%+v", s)
	}
}

func TestSecrets(t *testing.T) {
	t.Chdir(t.TempDir())
	const hidden = "hidden-hidden-hidden-hidden-hidden"
	if err := os.WriteFile("jwt", []byte(hidden+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := load(t, "jwt_secret_file: jwt\naudit_key: "+hidden+"\n", []string{
		"POSTRIDER_DATABASE_URL=postgres://api:" + hidden + "@db.example:5432/mail?sslpassword=" + hidden, "POSTRIDER_OPERATOR_KEY=" + hidden,
	}, map[string]string{"seal_keyset_file": "jwt"})
	if err != nil {
		t.Fatal(err)
	}
	if s.FileOf("jwt_secret") != "jwt" || s.FileOf("audit_key") != "" || s.JWTSecret.Reveal() != hidden || s.SealKeyset.Reveal() != hidden || s.Embedded() {
		t.Errorf("the secrets were not read")
	}
	var out strings.Builder
	if err := s.Print(&out); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %s", s, *s, s.JWTSecret)
	text, err := s.JWTSecret.MarshalText()
	if err != nil || s.JWTSecret.LogValue().String()+string(text) != "(set)(set)" {
		t.Errorf("%s, %v", text, err)
	}
	for _, line := range []string{
		"database_url               postgres://db.example:5432/mail", "jwt_secret                 (set)", "file postrider.yaml: jwt_secret_file",
		"environment POSTRIDER_OPERATOR_KEY", "flag --seal-keyset-file",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, out.String())
		}
	}
	if strings.Contains(out.String(), hidden) {
		t.Errorf("a secret was printed:\n%s", out.String())
	}
}

// FuzzFile: whatever a settings file holds, it is read or refused, and no secret of it shows.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"listen: :80", "jwt_secret: \"\x00\"", "a: [", "jwt_keys:\n- a=b\n- 1", "jwt_keys: {a: {b: c}}", "? [a]\n: b", "&a a: *a", "rate_limit: !!binary x", "hostname: 1e3", "data: ~"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(t.TempDir(), "postrider.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := config.Load(config.Sources{File: path, Flags: map[string]string{"data": "d"}, Hostname: "h"})
		if err == nil && (len(s.Listen) == 0 || s.ReadTimeout <= 0 || s.BodyLimit <= 0) {
			t.Errorf("%+v", s)
		}
		if err == nil && !s.JWTSecret.IsZero() && len(s.JWTSecret.Reveal()) < 32 {
			t.Error("a short secret was taken")
		}
	})
}
