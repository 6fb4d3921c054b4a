package redislimit

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// dialTimeout bounds the making of a connection, which may need TLS. A request does not
// wait for it longer than for an answer.
const dialTimeout = time.Second

// Open returns a client that suits a Limiter: short timeouts, no retries of its own, and
// obedient to the context. It opens no connection; the caller closes it.
//
// The URL is redis://user:password@host:6379/0, rediss:// for TLS, unix:///path/to/socket,
// or with ?addr=host:port for each further node of a cluster. timeout bounds one command;
// 0 means DefaultTimeout. No password is in the error.
func Open(address string, timeout time.Duration) (redis.UniversalClient, error) {
	timeout = cmp.Or(timeout, DefaultTimeout)
	if timeout < 0 {
		return nil, fmt.Errorf("redislimit: a timeout of %s; use a positive time, or 0 for %s", timeout, DefaultTimeout)
	}
	u, err := url.Parse(address)
	if err != nil {
		// The error would quote the address, and the password in it.
		return nil, errors.New("redislimit: the Redis URL cannot be read; write redis://user:password@host:6379/0, and encode special characters in the password")
	}
	off := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if u.Query().Has("addr") {
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, badURL(u, err)
		}
		o.ContextTimeoutEnabled, o.DisableIdentity, o.MaintNotificationsConfig = true, true, off
		// A redirection is no retry of a command, and a cluster needs them when it changes.
		o.MaxRedirects = 3
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, timeout, timeout, timeout
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, badURL(u, err)
	}
	o.ContextTimeoutEnabled, o.DisableIdentity, o.MaintNotificationsConfig = true, true, off
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, timeout, timeout, timeout
	return redis.NewClient(o), nil
}

func badURL(u *url.URL, err error) error {
	return fmt.Errorf("redislimit: Redis URL %s: %w", u.Redacted(), err)
}
