package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/store"
)

// maxReady bounds what is read of an answer of /readyz.
const maxReady = 64 << 10

// service asks the service on this machine whether it is ready.
func (d *doctor) service() {
	address, err := localAddress(d.settings.Listen)
	if err != nil {
		d.say("service", store.HealthFail, exitConfig, "give listen a port", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(d.ctx, readyTimeout)
	defer cancel()
	not, err := askReady(ctx, address, d.settings.TLSCert != "")
	switch {
	case err != nil:
		d.say("service", store.HealthFail, exitTemporary, "start it with postrider serve, or see its log", "%s does not answer: %v", address, err)
	case len(not) > 0:
		texts := make([]string, len(not))
		for i, n := range not {
			texts[i] = n.Part + ": " + n.Detail
		}
		d.say("service", store.HealthFail, exitTemporary, "the parts that are named tell what to look at", "%s is not ready: %s", address, strings.Join(texts, "; "))
	default:
		d.say("service", store.HealthOK, 0, "", "%s is ready", address)
	}
}

// localAddress is where this machine reaches what listens on the first of these.
func localAddress(listen []string) (string, error) {
	host, port, err := net.SplitHostPort(listen[0])
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", errors.New("listen names port 0, a new one with each start: where the service is cannot be known")
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
		if addr.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}

// askReady returns the parts that are not ready.
func askReady(ctx context.Context, address string, secure bool) ([]httpapi.NotReady, error) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/readyz", nil)
	if err != nil {
		return nil, err
	}
	// The certificate is for the name that clients use, and this is this machine: nothing secret is asked or told.
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return nil, errors.Unwrap(err) // without the URL, which the caller names
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxReady))
	if err != nil {
		return nil, err
	}
	var said struct {
		Status   string             `json:"status"`
		NotReady []httpapi.NotReady `json:"not_ready"`
	}
	if err := json.Unmarshal(b, &said); err != nil || said.Status == "" {
		return nil, fmt.Errorf("it answers %s, and not as postrider does", answer.Status)
	}
	if answer.StatusCode != http.StatusOK && len(said.NotReady) == 0 {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	return said.NotReady, nil
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
