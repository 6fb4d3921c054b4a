package httpapi_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/httpapi"
)

// listen serves an installation over the loopback device, or over what wrap makes of it.
func (in *installation) listen() *httptest.Server {
	in.t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	ts.Config = in.server.HTTPServer()
	ts.Start()
	in.t.Cleanup(ts.Close)
	return ts
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.MaxBody, c.Limits = 1000, httpapi.DefaultLimits() })
	ts := in.listen()
	body := func(size int) string {
		const frame = `{"refresh_token":""}`
		return `{"refresh_token":"` + strings.Repeat("a", size-len(frame)) + `"}`
	}
	for name, test := range map[string]struct {
		body    string
		chunked bool
		status  int
	}{
		"at the limit":            {body(1000), false, 422}, // the token is too long, which is another matter
		"one more":                {body(1001), false, 413},
		"far more":                {body(1 << 20), false, 413},
		"at the limit, in chunks": {body(1000), true, 422},
		"one more, in chunks":     {body(1001), true, 413},
		"far more, in chunks":     {body(1 << 20), true, 413},
	} {
		t.Run(name, func(t *testing.T) {
			var reader io.Reader = strings.NewReader(test.body)
			if test.chunked {
				reader = struct{ io.Reader }{reader}
			}
			r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, ts.URL+"/v1/refresh", reader))
			resp, err := ts.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, test.status, must(io.ReadAll(resp.Body)))
			}
			if resp.Header.Get("RateLimit") == "" {
				t.Error("no RateLimit")
			}
		})
	}
	token := in.token(in.a.admin)
	refused(t, in.call("POST", "/v1/users", token, body(2000)), 413, api.CodeTooLarge)
}

// TestSlowSender: who sends a body by drops is answered, and the connection is closed.
func TestSlowSender(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.ReadTimeout = 50 * time.Millisecond })
	ts := in.listen()
	for name, head := range map[string]string{
		"with a length":  "POST /v1/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"refresh",
		"in chunks":      "POST /v1/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ref",
		"nothing at all": "POST /v1/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := must(net.Dial("tcp", ts.Listener.Addr().String()))
			defer conn.Close()
			must(io.WriteString(conn, head))
			buf := bufio.NewReader(conn)
			resp, err := http.ReadResponse(buf, nil)
			if err != nil {
				t.Fatal(err)
			}
			text := string(must(io.ReadAll(resp.Body)))
			_ = resp.Body.Close()
			if resp.StatusCode != 408 || !strings.Contains(text, string(api.CodeTimeout)) {
				t.Errorf("status %d: %s", resp.StatusCode, text)
			}
			if _, err := buf.ReadByte(); err == nil {
				t.Error("the connection is still open")
			}
		})
	}
	t.Run("a body that nobody reads", func(t *testing.T) {
		conn := must(net.Dial("tcp", ts.Listener.Addr().String()))
		defer conn.Close()
		must(io.WriteString(conn, "POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"))
		all, err := io.ReadAll(conn) // ends when the server closes the connection
		if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
		if !strings.Contains(string(all), "404 Not Found") {
			t.Errorf("answer %q", all)
		}
	})
}

// TestSlowReader: an answer that the client does not read ends with the connection.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	in := install(t, func(c *httpapi.Config) { c.WriteTimeout = 50 * time.Millisecond })
	client, conn := net.Pipe() // holds nothing: each octet waits for its reader
	defer client.Close()
	listener := &oneConn{conn: conn, done: make(chan struct{})}
	server := in.server.HTTPServer()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	must(io.WriteString(client, "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"))
	<-listener.done // the server has given up
	if got := must(io.ReadAll(client)); len(got) >= len(in.server.OpenAPI()) {
		t.Errorf("%d octets were read", len(got))
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err == nil {
		t.Error("Serve returned without being closed")
	}
	if log := in.log.String(); !strings.Contains(log, `"cut_off":true`) {
		t.Errorf("log %s", log)
	}
}

// oneConn is a listener with one connection, which tells when the server closes it.
type oneConn struct {
	conn  net.Conn
	taken bool
	done  chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.taken {
		<-l.done
		return nil, net.ErrClosed
	}
	l.taken = true
	return &tellingConn{Conn: l.conn, done: l.done}, nil
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

type tellingConn struct {
	net.Conn
	done chan struct{}
	told bool
}

func (c *tellingConn) Close() error {
	if !c.told {
		c.told = true
		close(c.done)
	}
	return c.Conn.Close()
}

// TestSlowHandlerIsNoSlowClient: deadlines are about the client. A request whose body has arrived may take longer than
// they are, and so may the next one on the connection.
func TestSlowHandlerIsNoSlowClient(t *testing.T) {
	t.Parallel()
	slow := must(auth.NewPasswords(auth.PasswordConfig{Memory: 256 << 10, Iterations: 3}))
	in := install(t, func(c *httpapi.Config) {
		c.Passwords, c.ReadTimeout, c.WriteTimeout = slow, 30*time.Millisecond, 30*time.Millisecond
	})
	ts := in.listen()
	conn := must(net.Dial("tcp", ts.Listener.Addr().String()))
	defer conn.Close()
	buf := bufio.NewReader(conn)
	const body = `{"tenant":"nobody","email":"x@example.com","password":"a password to be hashed"}`
	for range 2 {
		must(io.WriteString(conn, "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "+itoa(len(body))+"\r\n\r\n"+body))
		resp, err := http.ReadResponse(buf, nil)
		if err != nil {
			t.Fatal(err)
		}
		text := must(io.ReadAll(resp.Body))
		_ = resp.Body.Close()
		if resp.StatusCode != 401 {
			t.Fatalf("status %d: %s", resp.StatusCode, text)
		}
	}
}
