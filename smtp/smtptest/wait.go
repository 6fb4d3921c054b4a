package smtptest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// records is what the server remembers; guarded by Server.mu.
type records struct {
	sessions      []*Session
	sessionsBegun int
	sessionsEnded int
	accepted      []Transaction
	acceptedCount int
	attempts      []Transaction
	attemptCount  int
	commands      map[string]int
}

// Stats are counts since the server started or Reset.
type Stats struct {
	// Sessions is the number of connections so far, Open those still open.
	Sessions, Open int
	// Accepted is the number of messages accepted, Attempts that of all
	// transactions that are over.
	Accepted, Attempts int
	// Commands counts the commands by verb, pseudo commands included.
	Commands map[string]int
}

// notifyLocked wakes all that wait. The caller holds mu.
func (s *Server) notifyLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// notify wakes all that wait.
func (s *Server) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notifyLocked()
}

// wait returns when cond, called with mu held, holds; with ctx's error, or with
// net.ErrClosed when the server is closed first.
func (s *Server) wait(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		if cond() {
			s.mu.Unlock()
			return nil
		}
		if s.closed && s.open == 0 {
			s.mu.Unlock()
			return fmt.Errorf("smtptest: waiting on a closed server: %w", net.ErrClosed)
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitTransactions waits until n messages have been accepted since the start or
// Reset, and gives all that are remembered, in the order of acceptance. The
// error of each Wait says how many there were, and wraps that of ctx, or
// net.ErrClosed if the server was closed meanwhile.
func (s *Server) WaitTransactions(ctx context.Context, n int) ([]Transaction, error) {
	var have int
	err := s.wait(ctx, func() bool { have = s.records.acceptedCount; return have >= n })
	if err != nil {
		return s.Transactions(), fmt.Errorf("smtptest: %d of %d messages accepted: %w", have, n, err)
	}
	return s.Transactions(), nil
}

// WaitAttempts waits until n transactions are over, accepted or not, and gives
// all that are remembered. Errors are as those of WaitTransactions.
func (s *Server) WaitAttempts(ctx context.Context, n int) ([]Transaction, error) {
	var have int
	err := s.wait(ctx, func() bool { have = s.records.attemptCount; return have >= n })
	if err != nil {
		return s.Attempts(), fmt.Errorf("smtptest: %d of %d transactions over: %w", have, n, err)
	}
	return s.Attempts(), nil
}

// WaitSessions waits until n clients have connected since the start or Reset.
// Errors are as those of WaitTransactions.
func (s *Server) WaitSessions(ctx context.Context, n int) ([]*Session, error) {
	var have int
	err := s.wait(ctx, func() bool { have = s.records.sessionsBegun; return have >= n })
	if err != nil {
		return s.Sessions(), fmt.Errorf("smtptest: %d of %d sessions begun: %w", have, n, err)
	}
	return s.Sessions(), nil
}

// WaitSessionsClosed waits until n sessions have ended since the start or Reset.
// Errors are as those of WaitTransactions.
func (s *Server) WaitSessionsClosed(ctx context.Context, n int) error {
	var have int
	err := s.wait(ctx, func() bool { have = s.records.sessionsEnded; return have >= n })
	if err != nil {
		return fmt.Errorf("smtptest: %d of %d sessions ended: %w", have, n, err)
	}
	return nil
}

// WaitCommand waits until a command, or pseudo command, has been received n times
// since the start or Reset. It has been received when its line has been read, or
// for CommandContent the whole content; the reply may not have been given yet.
// Errors are as those of WaitTransactions.
func (s *Server) WaitCommand(ctx context.Context, command string, n int) error {
	command = strings.ToUpper(command)
	var have int
	err := s.wait(ctx, func() bool { have = s.records.commands[command]; return have >= n })
	if err != nil {
		return fmt.Errorf("smtptest: %d of %d %s received: %w", have, n, command, err)
	}
	return nil
}

// Transactions gives the accepted messages in the order of acceptance.
func (s *Server) Transactions() []Transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records.accepted)
}

// Attempts gives all transactions that are over, accepted, refused, reset or
// lost, in the order of their ends.
func (s *Server) Attempts() []Transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records.attempts)
}

// Sessions gives the sessions in the order of connecting, ended ones too.
func (s *Server) Sessions() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records.sessions)
}

// Commands gives the commands of all sessions, session by session.
func (s *Server) Commands() []Command {
	var all []Command
	for _, x := range s.Sessions() {
		all = append(all, x.Commands()...)
	}
	return all
}

// Lint gives the faults that clients were found at, session by session.
func (s *Server) Lint() []Lint {
	var all []Lint
	for _, x := range s.Sessions() {
		all = append(all, x.Lint()...)
	}
	return all
}

// Stats gives the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Sessions: s.records.sessionsBegun, Open: s.open,
		Accepted: s.records.acceptedCount, Attempts: s.records.attemptCount,
		Commands: map[string]int{},
	}
	for k, v := range s.records.commands {
		st.Commands[k] = v
	}
	return st
}

// Reset forgets all records, the rules added by On, and the counters of the
// Config's rules. Sessions are counted from 1 again. Those that are open stay
// open and remembered, with the numbers that they have.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records.accepted, s.records.acceptedCount = nil, 0
	s.records.attempts, s.records.attemptCount = nil, 0
	s.records.commands = nil
	s.records.sessions = slices.DeleteFunc(s.records.sessions, func(x *Session) bool { return x.Closed() })
	s.records.sessionsBegun, s.records.sessionsEnded = 0, 0
	var kept []*ruleState
	for _, r := range s.rules {
		if r.fixed {
			kept = append(kept, newRuleState(r.Rule, true))
		}
	}
	s.rules = kept
}

// received counts a command.
func (s *Server) received(verb string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records.commands == nil {
		s.records.commands = map[string]int{}
	}
	s.records.commands[verb]++
	s.notifyLocked()
}

// over records a transaction that has ended.
func (s *Server) over(t Transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records.attemptCount++
	s.records.attempts = keep(append(s.records.attempts, t), s.cfg.KeepRecords)
	if t.Accepted {
		s.records.acceptedCount++
		s.records.accepted = keep(append(s.records.accepted, t), s.cfg.KeepRecords)
	}
	s.notifyLocked()
}

// sessionEnded takes a session off the open ones.
func (s *Server) sessionEnded(x *Session) {
	x.markClosed()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.records.sessionsEnded++
	for _, r := range s.rules {
		delete(r.seen, x)
		delete(r.used, x)
	}
	s.trimSessions()
	s.notifyLocked()
}

// trimSessions forgets the oldest closed sessions beyond Config.KeepRecords.
func (s *Server) trimSessions() {
	if s.cfg.KeepRecords == 0 {
		return
	}
	surplus := len(s.records.sessions) - s.open - max(s.cfg.KeepRecords, 0)
	s.records.sessions = slices.DeleteFunc(s.records.sessions, func(x *Session) bool {
		if surplus > 0 && x.Closed() {
			surplus--
			return true
		}
		return false
	})
}

// keep gives the newest n records: all for 0, none for -1.
func keep[T any](list []T, n int) []T {
	switch {
	case n == 0 || len(list) <= n:
		return list
	case n < 0:
		return nil
	}
	return slices.Delete(list, 0, len(list)-n)
}
