package redislimit_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/ratelimit/redislimit"
)

// A limiter for several processes. Here Redis is away, so that this process counts for
// itself until it is there; the hook would set a metric.
func Example() {
	client, err := redislimit.Open("redis://127.0.0.1:1", 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	limiter, err := redislimit.New(redislimit.Config{
		Client:   client,
		Logger:   slog.New(slog.DiscardHandler),
		OnChange: func(up bool, _ error) { fmt.Println("Redis is up:", up) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := ratelimit.Policy{Name: "user", Limit: 1, Window: time.Minute}
	for range 2 {
		d, err := limiter.Allow(context.Background(), "ann", policy)
		fmt.Println(d.Allowed, err)
	}
	// Output:
	// Redis is up: false
	// true <nil>
	// false <nil>
}
