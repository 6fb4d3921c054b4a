package smtptest

import (
	"math/rand/v2"
	"strings"
)

// The moments of a session that are not commands but can have rules too.
const (
	// CommandConnect is the moment a connection is accepted, before TLS. A reply
	// here is written unencrypted and closes the connection if it is 4yz or 5yz.
	CommandConnect = "CONNECT"
	// CommandGreeting is the greeting. A negative reply leaves a session in
	// which everything but QUIT is answered 503 (RFC 5321 §3.1).
	CommandGreeting = "GREETING"
	// CommandAuthResponse is each line of the client in an AUTH exchange after
	// the command itself. A reply with 334 continues the exchange.
	CommandAuthResponse = "AUTH-RESPONSE"
	// CommandContent is the end of the content: the reply to the final dot,
	// or to BDAT LAST.
	CommandContent = "CONTENT"
)

// Rule says when an action takes place. All conditions that are set must hold.
// Rules come before the server's own checks. Of several that apply the first
// one given decides.
type Rule struct {
	// Command is a verb such as RCPT, or one of the constants such as
	// CommandContent. "": any.
	Command string
	// Match must be a part of the command's argument, upper or lower case
	// alike: "bob@" for a RCPT. For CommandContent the argument is the envelope as
	// "<sender> <recipient> <recipient>…". "": any.
	Match string
	// Nth is which of the commands that match, counted from 1. 0: each.
	Nth int
	// Session is the number of the connection, counted from 1. 0: any.
	Session int
	// EachSession makes Nth and Times count in each session by itself.
	// Otherwise they count over all sessions.
	EachSession bool
	// Times is how often the rule applies at most. 0: always.
	Times int
	// Chance is the probability, from 0 to 1, that the rule applies when all
	// other conditions hold: 0.05 is five times in a hundred. 0: always, as 1.
	Chance float64
	// Action is what to do. Zero: go on as usual.
	Action Action
}

// ruleState is a rule with its counters, by session or, under nil, for all.
type ruleState struct {
	Rule
	seen, used map[*Session]int
	fixed      bool // from Config: kept by Server.Reset
}

func newRuleState(r Rule, fixed bool) *ruleState {
	return &ruleState{Rule: r, seen: map[*Session]int{}, used: map[*Session]int{}, fixed: fixed}
}

// applies counts a command and reports whether the rule is for it.
func (r *ruleState) applies(session *Session, command, arg string) bool {
	if r.Session != 0 && r.Session != session.Number() ||
		r.Command != "" && !strings.EqualFold(r.Command, command) ||
		r.Match != "" && !strings.Contains(strings.ToLower(arg), strings.ToLower(r.Match)) {
		return false
	}
	key := r.key(session)
	r.seen[key]++
	return (r.Nth == 0 || r.seen[key] == r.Nth) && (r.Times == 0 || r.used[key] < r.Times) &&
		(r.Chance == 0 || rand.Float64() < r.Chance)
}

// key is what the counters are kept by.
func (r *ruleState) key(session *Session) *Session {
	if r.EachSession {
		return session
	}
	return nil
}

// On adds a rule behind those that there are.
func (s *Server) On(r Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, newRuleState(r, false))
}

// ClearRules removes all rules, those of the Config too.
func (s *Server) ClearRules() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// rule finds the action for a command. Rules for the middle of the content are
// looked for with middle set, at the beginning of the content, and only under
// CommandContent; on DATA and BDAT they are found like any other.
func (s *Server) rule(session *Session, command, arg string, middle bool) (Action, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *ruleState
	for _, r := range s.rules {
		if command == CommandContent && r.Action.has(stepAtOctet) != middle {
			continue
		}
		if r.applies(session, command, arg) && found == nil {
			found = r
		}
	}
	if found == nil {
		return Action{}, false
	}
	found.used[found.key(session)]++
	return found.Action, len(found.Action.steps) > 0
}
