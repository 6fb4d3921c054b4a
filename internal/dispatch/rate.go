package dispatch

import "time"

const (
	// horizon is how far ahead messages are claimed: what is claimed should be sent within that time.
	horizon = 100 * time.Millisecond
	// maxAhead bounds the messages claimed ahead, maxAheadBytes the memory that their content takes.
	maxAhead      = 512
	maxAheadBytes = 4 << 20
	// rateOver is the time over which the rate is measured.
	rateOver = 50 * time.Millisecond
)

// pace measures how many messages a second a relay takes, and how large they are.
type pace struct {
	rate  float64 // a second
	since time.Time
	n     int     // ended since then
	size  float64 // bytes a message in memory, a running mean
}

// ended counts a message that ended.
func (p *pace) ended(now time.Time) {
	p.n++
	if p.since.IsZero() {
		p.since = now
	}
	took := now.Sub(p.since)
	if took < rateOver {
		return
	}
	rate := float64(p.n) / took.Seconds()
	if took > 20*rateOver { // after a silence what was before says nothing
		p.rate = rate
	}
	p.rate = (p.rate + rate) / 2
	p.since, p.n = now, 0
}

// claimed takes the size of a message that was claimed.
func (p *pace) claimed(bytes int) { p.size += (float64(bytes) - p.size) / 16 }

// ahead is how many messages to hold claimed: what is sent within the horizon, at least one for each message that may be sent at the same time, and no more than
// fits into memory.
func (p *pace) ahead(slots int) int {
	n := max(slots, int(p.rate*horizon.Seconds()))
	if p.size > 0 {
		n = min(n, int(maxAheadBytes/p.size))
	}
	return max(1, min(n, maxAhead))
}
