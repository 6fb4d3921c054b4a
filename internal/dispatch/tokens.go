package dispatch

import "sync"

// greed bounds what one relay may hold of the tokens: so many times what is free. A relay alone gets three quarters; n busy ones get equal
// parts, and something stays free for the next. (The dynamic threshold of shared switch buffers, Choudhury and Hahne 1998.) So relays that hang
// cannot take all tokens and keep them.
const greed = 3

// tokens are the messages that the node may send at the same time, over all relays. Relays that want one and get none wait in a line:
// each gets one in its turn and then stands at the end.
type tokens struct {
	mu   sync.Mutex
	free int
	line []*share
}

// share is one relay's part of the tokens. Its relay's goroutine calls take, give and idle.
type share struct {
	of      *tokens
	held    int           // granted and in use
	granted int           // of those held, not yet fetched by take
	waiting bool          // stands in the line
	wake    chan struct{} // gets one when a token was granted; capacity 1
}

func newTokens(n int) *tokens { return &tokens{free: n} }

// join adds a relay. wake gets a value, if there is room for it, when a token was granted.
func (t *tokens) join(wake chan struct{}) *share { return &share{of: t, wake: wake} }

// none says that no more messages can be sent at the same time.
func (t *tokens) none() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.free == 0
}

// may says whether a share may have one more. The caller holds mu.
func (t *tokens) may(s *share) bool {
	return t.free > 0 && (s.held == 0 || s.held < greed*t.free)
}

// take takes a token; without one it stands in line.
func (s *share) take() bool {
	t := s.of
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.granted > 0:
		s.granted--
		return true
	case t.may(s):
		t.free--
		s.held++
		return true
	case !s.waiting:
		s.waiting = true
		t.line = append(t.line, s)
	}
	return false
}

// give gives back n tokens.
func (s *share) give(n int) {
	t := s.of
	t.mu.Lock()
	defer t.mu.Unlock()
	s.held -= n
	t.free += n
	t.grant()
}

// idle gives back what was granted and not fetched, and leaves the line: the relay has nothing to send now.
func (s *share) idle() {
	t := s.of
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.waiting {
		s.waiting = false
		for i, o := range t.line {
			if o == s {
				t.line = append(t.line[:i], t.line[i+1:]...)
				break
			}
		}
	}
	s.held -= s.granted
	t.free += s.granted
	s.granted = 0
	t.grant()
}

// grant hands free tokens to those in line, the first who may have one first. The caller holds mu.
func (t *tokens) grant() {
	for i := 0; i < len(t.line) && t.free > 0; {
		s := t.line[i]
		if !t.may(s) {
			i++
			continue
		}
		t.line = append(t.line[:i], t.line[i+1:]...)
		s.waiting = false
		t.free--
		s.held++
		s.granted++
		select {
		case s.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}
