package ratelimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/postrider/postrider/ratelimit"
)

// Users are limited by their id, everybody else by the address of the connection.
func Example() {
	memory, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	user, err := ratelimit.ParsePolicy("user", "50/1m")
	if err != nil {
		fmt.Println(err)
		return
	}
	limits, err := ratelimit.New(ratelimit.Config{
		Limiter:  memory,
		Policies: []ratelimit.Policy{user, {Name: "address", Limit: 2, Window: time.Minute}},
		Keys: []ratelimit.KeyFunc{func(r *http.Request) (key, policy string, ok bool) {
			if id, verified := verifiedUser(r); verified {
				return id, "user", true
			}
			return ratelimit.AddrKey(ratelimit.ClientAddr(r, nil)), "address", true
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := limits.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	for range 3 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Printf("%d %s %q\n", w.Code, w.Header().Get("RateLimit"), w.Header().Get("Retry-After"))
	}
	// Output:
	// 200 "address";r=1;t=60 ""
	// 200 "address";r=0;t=60 ""
	// 429 "address";r=0;t=60 "60"
}

// verifiedUser stands for the program's authentication.
func verifiedUser(*http.Request) (id string, ok bool) { return "", false }

// A limit outside of HTTP, or within a handler: log-ins are throttled for each account.
func ExampleMemory() {
	memory, err := ratelimit.NewMemory(ratelimit.MemoryConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	login := ratelimit.Policy{Name: "login", Limit: 2, Window: 15 * time.Minute}
	for range 3 {
		d, err := memory.Allow(context.Background(), "ann@example.com", login)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Allowed, d.Remaining, d.RetryAfter.Round(time.Minute))
	}
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 15m0s
}

func ExampleClientAddr() {
	trusted, err := ratelimit.ParseProxies("10.0.0.0/8")
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.1.1.1:4711"
	// The left one is what the client has made up, the right one what our proxy saw.
	r.Header.Set("X-Forwarded-For", "127.0.0.1, 2001:db8:1:2:3:4:5:6")
	fmt.Println(ratelimit.ClientAddr(r, trusted))
	fmt.Println(ratelimit.AddrKey(ratelimit.ClientAddr(r, trusted)))
	// Never trust everybody: then the client says who it is.
	everybody := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	fmt.Println(ratelimit.ClientAddr(r, everybody))
	// Output:
	// 2001:db8:1:2:3:4:5:6
	// 2001:db8:1:2::/64
	// 127.0.0.1
}
