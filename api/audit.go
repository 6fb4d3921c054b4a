package api

import "time"

// AuditEntry is one line of the audit log: who did what, on what, when, from where, and how it ended.
type AuditEntry struct {
	ID      string            `json:"id" format:"uuid"`
	At      time.Time         `json:"at"`
	Actor   AuditActor        `json:"actor"`
	Action  string            `json:"action" example:"user.create"`
	Target  AuditTarget       `json:"target"`
	Outcome string            `json:"outcome" enum:"done,denied,failed"`
	Count   int               `json:"count" doc:"How many such acts are summed up here."`
	Detail  map[string]string `json:"detail,omitempty"`
	// Personal is missing once it was erased.
	Personal map[string]string `json:"personal,omitempty" doc:"What is known of the person that is the target."`
}

// AuditActor is who did it. Address and user agent are missing once they were erased.
type AuditActor struct {
	Kind      string `json:"kind" doc:"token, api_key, operator, command, system, or nobody: without a good credential."`
	UserID    string `json:"user_id,omitempty" format:"uuid"`
	TokenID   string `json:"token_id,omitempty"`
	Role      string `json:"role,omitempty"`
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// AuditTarget is on what it was done.
type AuditTarget struct {
	Kind string `json:"kind,omitempty" example:"user"`
	ID   string `json:"id,omitempty"`
}

// AuditEntries is a page of the audit log, newest first.
type AuditEntries struct {
	Data []AuditEntry `json:"data"`
	Next string       `json:"next,omitempty" doc:"Goes into after to get the next page; left out on the last one."`
}
