package httpapi

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/api"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/submission"
)

// isNotFound tells whether there is no such row.
func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// relayFaults gathers what is wrong with the settings of a relay.
type relayFaults []api.FieldError

func (f *relayFaults) add(pointer string, code api.FieldCode, detail string) {
	*f = append(*f, api.FieldError{Pointer: pointer, Code: code, Detail: detail})
}

// err is the answer; nil if nothing is wrong.
func (f relayFaults) err() error {
	if len(f) == 0 {
		return nil
	}
	return invalid(f...)
}

const (
	longestRetry     = 30 * 24 * time.Hour // the longest time that a message may be tried
	shortestInterval = 100 * time.Millisecond
)

// duration reads a Go duration between two bounds.
func (f *relayFaults) duration(pointer, text string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		f.add(pointer, api.FieldFormat, "It is not a duration such as 30s or 72h.")
	case d < least || d > most:
		f.add(pointer, api.FieldOutOfRange, "It may be from "+least.String()+" to "+most.String()+".")
	}
	return d
}

func (f *relayFaults) schedule(texts []string) []time.Duration {
	var out []time.Duration
	for i, text := range texts {
		out = append(out, f.duration("/retry_schedule/"+strconv.Itoa(i), text, shortestInterval, longestRetry))
	}
	return out
}

// domains reads names of domains, in lower case, as A-labels.
func (f *relayFaults) domains(names []string) []string {
	out := make([]string, 0, len(names))
	for i, name := range names {
		name = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(name, "@"), "."))
		if !submission.ValidHost(name) || !strings.Contains(name, ".") {
			f.add("/from_domains/"+strconv.Itoa(i), api.FieldFormat, "It is not a domain name in ASCII, such as example.com or xn--bcher-kva.example.")
		}
		out = append(out, name)
	}
	return out
}

// host reads a host's name.
func (f *relayFaults) host(pointer, host string) string {
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host != "" && !submission.ValidHost(host) {
		f.add(pointer, api.FieldFormat, "It is neither a domain name nor an IP address.")
	}
	return host
}

// account checks that user and password come together.
func (f *relayFaults) account(username string, password bool) {
	switch {
	case password && username == "":
		f.add("/username", api.FieldRequired, "A password needs a user name.")
	case !password && username != "":
		f.add("/password", api.FieldRequired, "A user name needs a password.")
	}
	if strings.ContainsFunc(username, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		f.add("/username", api.FieldInvalid, "It has a control character.")
	}
}

func (f *relayFaults) certificate(text string) {
	if text != "" && !submission.ValidCertificates(text) {
		f.add("/ca_cert", api.FieldFormat, "It is not one or several certificates in PEM form.")
	}
}

// name is what people call a relay.
func (f *relayFaults) name(text string) {
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.TrimSpace(text) == "" {
		f.add("/name", api.FieldInvalid, "It is blank or has a control character.")
	}
}

// seal seals a password for the owner of the relay; uuid.Nil: the operator.
func (s *Server) seal(owner uuid.UUID, password string) ([]byte, error) {
	if password == "" {
		return nil, nil
	}
	return s.cfg.Sealer.Seal(owner, seal.PurposeRelayPassword, []byte(password))
}

// newRelay reads a relay to be created.
func (s *Server) newRelay(owner uuid.UUID, req api.NewRelay) (store.NewRelay, error) {
	var f relayFaults
	tls, port := submission.TLSAndPort(req.TLS, req.Port)
	n := store.NewRelay{
		Name: req.Name, Host: f.host("/host", req.Host), Port: port, TLS: tls, Username: req.Username, HELO: f.host("/helo", req.HELO),
		FromDomains: f.domains(req.FromDomains), Limits: limitsOf(req.Limits), RetrySchedule: f.schedule(req.RetrySchedule),
		CACert: req.CACert, DangerouslySkipTLSVerify: req.DangerouslySkipTLSVerify,
	}
	f.name(req.Name)
	f.account(req.Username, req.Password != "")
	f.certificate(req.CACert)
	if req.GiveUpAfter != "" {
		n.GiveUpAfter = f.duration("/give_up_after", req.GiveUpAfter, time.Minute, longestRetry)
	}
	if err := f.err(); err != nil {
		return n, err
	}
	var err error
	n.SealedPassword, err = s.seal(owner, req.Password)
	return n, err
}

func limitsOf(l api.RelayLimits) store.RelayLimits {
	return store.RelayLimits{MaxConns: l.MaxConns, MessagesPerConn: l.MessagesPerConn, MessagesPerMinute: l.MessagesPerMinute, RecipientsPerDay: l.RecipientsPerDay}
}

// relayPatch reads what is to be changed of a relay.
func (s *Server) relayPatch(owner uuid.UUID, old store.Relay, req api.RelayPatch) (store.RelayPatch, error) {
	var f relayFaults
	p := store.RelayPatch{
		Name: req.Name, Port: req.Port, TLS: req.TLS, Username: req.Username, CACert: req.CACert, DangerouslySkipTLSVerify: req.DangerouslySkipTLSVerify,
	}
	if req.Name != nil {
		f.name(*req.Name)
	}
	if req.Host != nil {
		host := f.host("/host", *req.Host)
		p.Host = &host
	}
	if req.HELO != nil {
		helo := f.host("/helo", *req.HELO)
		p.HELO = &helo
	}
	if req.FromDomains != nil {
		domains := f.domains(*req.FromDomains)
		p.FromDomains = &domains
	}
	if req.RetrySchedule != nil {
		schedule := f.schedule(*req.RetrySchedule)
		p.RetrySchedule = &schedule
	}
	if req.Limits != nil {
		limits := limitsOf(*req.Limits)
		p.Limits = &limits
	}
	if req.GiveUpAfter != nil {
		var after time.Duration // the empty string: the service's default
		if *req.GiveUpAfter != "" {
			after = f.duration("/give_up_after", *req.GiveUpAfter, time.Minute, longestRetry)
		}
		p.GiveUpAfter = &after
	}
	if req.CACert != nil {
		f.certificate(*req.CACert)
	}
	username, password := old.Username, old.HasPassword
	if req.Username != nil {
		username = *req.Username
	}
	if req.Password != nil {
		password = *req.Password != ""
	}
	// A password goes to the host it was given for: to send it elsewhere, say it again.
	if moved := req.Host != nil && *p.Host != old.Host; moved && old.HasPassword && req.Password == nil {
		f.add("/password", api.FieldRequired, "Another host needs the password again.")
	}
	f.account(username, password)
	if err := f.err(); err != nil {
		return p, err
	}
	if req.Password != nil {
		sealed, err := s.seal(owner, *req.Password)
		if err != nil {
			return p, err
		}
		p.SealedPassword = &sealed
	}
	return p, nil
}
