package ratelimit

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// The problem types that draft-ietf-httpapi-ratelimit-headers registers, with their titles.
const (
	typeQuota     = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	titleQuota    = "Request cannot be satisfied as assigned quota has been exceeded"
	typeCapacity  = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
	titleCapacity = "Request cannot be satisfied due to temporary server capacity constraints"
)

// problem is a problem document, RFC 9457.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail"`
	Violated []string `json:"violated-policies,omitempty"`
}

// WriteProblem answers a refused request with a problem document (RFC 9457) of the type
// quota-exceeded or temporary-reduced-capacity, which names the policy. It is the default
// of Config.Refuse.
func WriteProblem(w http.ResponseWriter, _ *http.Request, refusal Refusal) {
	wait := strconv.FormatInt(int64(refusal.RetryAfter/time.Second), 10) + " s"
	doc := problem{Type: typeCapacity, Title: titleCapacity, Status: refusal.Status, Detail: "Requests cannot be counted at present. Try again in " + wait + "."}
	if refusal.Status == http.StatusTooManyRequests {
		doc.Type, doc.Title = typeQuota, titleQuota
		doc.Detail = "At most " + strconv.Itoa(refusal.Policy.Limit) + " requests are allowed in any " + refusal.Policy.Window.String() + ". Try again in " + wait + "."
	}
	if refusal.Policy.Name != "" {
		doc.Violated = []string{refusal.Policy.Name}
	}
	// No error: strings and numbers can be written.
	body, _ := json.Marshal(doc)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(doc.Status)
	// The client may have gone; nobody is left to tell.
	_, _ = w.Write(body)
}
