package dispatch

import "time"

// passNews is how many messages may be started between an announcement and the moment when what was announced takes part in
// the turns. It bounds what a message waits for in messages, not in time, also when the store answers slowly.
const passNews = 200

// news follows an announcement until what was announced takes part in the turns: the store is asked whose messages are due, then those are
// claimed. Owned by the goroutine that drains the relay.
type news struct {
	fresh   bool // messages were announced that do not take part yet
	asked   bool // the store was asked after that
	passed  int  // messages started since
	since   time.Time
	waiting int  // claims that were under way when the answer had been heeded; 0: it is not there, or has not been heeded
	heed    bool // the answer has come: what follows from it is claimed in this step
}

// came takes an announcement.
func (n *news) came(now time.Time) {
	if !n.fresh {
		*n = news{fresh: true, since: now}
	}
}

// ask tells that the store is asked.
func (n *news) ask() { n.asked = n.fresh }

// answered tells that the store has answered. again: more was announced meanwhile, for which it must be asked once more.
func (n *news) answered(again bool) {
	switch {
	case !n.asked:
	case again:
		*n = news{fresh: true, since: n.since}
	default:
		n.heed = true
	}
}

// claims tells how many claims are under way after the answer was heeded.
func (n *news) claims(underWay int) {
	if !n.heed {
		return
	}
	n.heed = false
	if n.waiting = underWay; underWay == 0 {
		*n = news{}
	}
}

// claimed tells that a claim has ended.
func (n *news) claimed() {
	if n.waiting > 0 {
		if n.waiting--; n.waiting == 0 {
			*n = news{}
		}
	}
}

// started tells that a message was started.
func (n *news) started() { n.passed++ }

// newsFor is how long what was announced waits at least before the store is asked for it out of turn.
const newsFor = 25 * time.Millisecond

// askAt is when the store must be asked at the latest, whose last question took so long and ended then; zero: there is nothing new. At once if many messages
// were started since; else so that at most half of the time goes into asking.
func (n *news) askAt(ended time.Time, took time.Duration) time.Time {
	switch {
	case !n.fresh:
		return time.Time{}
	case n.passed >= passNews/2:
		return n.since
	}
	at := ended.Add(took)
	if t := n.since.Add(newsFor); t.After(at) {
		return t
	}
	return at
}

// full says that no message may be started before what was announced takes part.
func (n *news) full() bool { return n.fresh && n.passed >= passNews }
