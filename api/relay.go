package api

import "time"

// Relay is a server that takes messages from us.
type Relay struct {
	ID          string      `json:"id" format:"uuid"`
	Name        string      `json:"name"`
	Shared      bool        `json:"shared" doc:"True for a relay of the operator, which the tenant may use and not change."`
	Host        string      `json:"host"`
	Port        int         `json:"port"`
	TLS         string      `json:"tls" enum:"none,tls,ssl" doc:"none, STARTTLS, or TLS from the first octet."`
	Username    string      `json:"username,omitempty"`
	HasPassword bool        `json:"has_password" doc:"The password itself is never shown."`
	HELO        string      `json:"helo,omitempty"`
	FromDomains []string    `json:"from_domains" doc:"The domains that it may send for; empty: any."`
	Limits      RelayLimits `json:"limits"`
	// RetrySchedule and GiveUpAfter are Go durations.
	RetrySchedule            []string   `json:"retry_schedule,omitempty" doc:"The waits before the second, third, … attempt. Left out: 1s, 5s, 30s, then 2m doubling to 1h."`
	GiveUpAfter              string     `json:"give_up_after,omitempty" doc:"How long a message is tried. Left out: 72h."`
	CACert                   string     `json:"ca_cert,omitempty"`
	DangerouslySkipTLSVerify bool       `json:"dangerously_skip_tls_verify,omitempty"`
	Paused                   *Pause     `json:"paused,omitempty" doc:"Left out: it is not."`
	NotBefore                *time.Time `json:"not_before,omitempty" doc:"It is not used before: it failed too often, or a limit is used up."`
	CreatedAt                time.Time  `json:"created_at"`
	UpdatedAt                time.Time  `json:"updated_at"`
}

// RelayLimits are what a relay's owner or provider allows.
type RelayLimits struct {
	// What the members are their doc tags say.
	MaxConns          int `json:"max_conns,omitempty" minimum:"0" maximum:"1000" doc:"Connections at the same time. 0: 10."`
	MessagesPerConn   int `json:"messages_per_conn,omitempty" minimum:"0" maximum:"1000000" doc:"Messages over one connection. 0: 100."`
	MessagesPerMinute int `json:"messages_per_minute,omitempty" minimum:"0" maximum:"1000000" doc:"0: no limit."`
	RecipientsPerDay  int `json:"recipients_per_day,omitempty" minimum:"0" maximum:"1000000000" doc:"0: no limit."`
}

// Pause says who holds a relay, and why.
type Pause struct {
	By     string    `json:"by" enum:"tenant,operator,auth" doc:"auth: the relay refused our password; it is tried again each hour."`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Relays is a page of relays, newest first.
type Relays struct {
	Data []Relay `json:"data"`
	Next string  `json:"next,omitempty" doc:"Goes into after to get the next page; left out on the last one."`
}

// NewRelay is a relay to be created.
type NewRelay struct {
	Name                     string      `json:"name" minLength:"1" maxLength:"100" doc:"Unique."`
	Host                     string      `json:"host" minLength:"1" maxLength:"253" doc:"A domain name or an IP address."`
	Port                     int         `json:"port,omitempty" minimum:"1" maximum:"65535" doc:"Default: 25, 587 or 465, by tls."`
	TLS                      string      `json:"tls,omitempty" enum:"none,tls,ssl" doc:"Default: ssl on port 465, else tls."`
	Username                 string      `json:"username,omitempty" maxLength:"1024"`
	Password                 string      `json:"password,omitempty" maxLength:"8192" writeOnly:"true"`
	HELO                     string      `json:"helo,omitempty" maxLength:"253" doc:"The name given in EHLO. Default: the service's."`
	FromDomains              []string    `json:"from_domains,omitempty" maxItems:"1000" doc:"The domains that it may send for. Default: any."`
	Limits                   RelayLimits `json:"limits,omitempty"`
	RetrySchedule            []string    `json:"retry_schedule,omitempty" maxItems:"100" doc:"Go durations such as 30s."`
	GiveUpAfter              string      `json:"give_up_after,omitempty" maxLength:"40" doc:"A Go duration such as 72h."`
	CACert                   string      `json:"ca_cert,omitempty" maxLength:"65536" doc:"Certificates in PEM form that the relay's must descend from. Default: the system's."`
	DangerouslySkipTLSVerify bool        `json:"dangerously_skip_tls_verify,omitempty" doc:"Take any certificate: anybody on the way can read the mail and the password."`
}

// RelayPatch changes the members that are given.
type RelayPatch struct {
	Name                     *string      `json:"name,omitempty" minLength:"1" maxLength:"100"`
	Host                     *string      `json:"host,omitempty" minLength:"1" maxLength:"253"`
	Port                     *int         `json:"port,omitempty" minimum:"1" maximum:"65535"`
	TLS                      *string      `json:"tls,omitempty" enum:"none,tls,ssl"`
	Username                 *string      `json:"username,omitempty" maxLength:"1024"`
	Password                 *string      `json:"password,omitempty" maxLength:"8192" writeOnly:"true" doc:"The empty string takes it away."`
	HELO                     *string      `json:"helo,omitempty" maxLength:"253"`
	FromDomains              *[]string    `json:"from_domains,omitempty" maxItems:"1000"`
	Limits                   *RelayLimits `json:"limits,omitempty"`
	RetrySchedule            *[]string    `json:"retry_schedule,omitempty" maxItems:"100"`
	GiveUpAfter              *string      `json:"give_up_after,omitempty" maxLength:"40"`
	CACert                   *string      `json:"ca_cert,omitempty" maxLength:"65536"`
	DangerouslySkipTLSVerify *bool        `json:"dangerously_skip_tls_verify,omitempty"`
}

// PauseRequest pauses a relay.
type PauseRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"For those who ask why their messages do not leave."`
}
