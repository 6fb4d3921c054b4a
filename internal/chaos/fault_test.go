package chaos_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// fault is a way to break a world.
type fault struct {
	name string
	part string // two faults of one part cannot be at the same time, unless they are of different nodes
	in   []string
	// lasts is how long it is left so at least; up to three times as long at random, or for spread more.
	lasts, spread time.Duration
	// takenOver says that other nodes drain the relays of the broken one before it is mended.
	takenOver bool
	// strike breaks something; mend makes it whole again.
	strike func(t *testing.T, b blow) (mend func())
}

// blow is where a fault strikes.
type blow struct {
	*world
	n *node      // the node, if it is a fault of one
	r *rand.Rand // what is left to chance
}

// time is how long it is left so.
func (f *fault) time(r *rand.Rand) time.Duration {
	spread := f.spread
	if spread == 0 {
		spread = 2 * f.lasts
	}
	return f.lasts + time.Duration(r.Int64N(int64(spread)))
}

const (
	killService   = "service killed"
	stopService   = "service stopped for a while"
	killDatabase  = "PostgreSQL killed"
	cutDatabase   = "network to PostgreSQL cut"
	stallDatabase = "network to PostgreSQL stalled"
	fillDisk      = "disk full"
	killRelay     = "relay killed"
	cutRelay      = "network to the relay cut"
	stallRelay    = "relay heard, not hearing: replies stalled, then cut"
	cutContent    = "connection lost inside the content"
	dropReply     = "final reply dropped"
	refuseForNow  = "relay answers 451"

	partService    = "service"
	partDatabase   = "database"
	partDisk       = "disk"
	partRelay      = "relay"
	partConnection = "line"
)

// faults are all there are.
func faults() []fault { return slices.Concat(faultsOfOne(), faultsOfAll(), faultsOfCluster()) }

// faultsOfOne are those of a service of one node.
func faultsOfOne() []fault {
	everywhere, pg := []string{sqlite, tinyDisk, postgresql}, []string{postgresql}
	return []fault{
		{name: killService, part: partService, in: everywhere, lasts: 50 * time.Millisecond, strike: func(t *testing.T, b blow) func() {
			b.n.kill(t)
			if b.r.IntN(3) == 0 { // the next life too, while it starts or settles what the first one left
				b.n.start(t)
				pause(t.Context(), time.Duration(b.r.IntN(400))*time.Millisecond)
				b.n.kill(t)
			}
			return func() { b.n.start(t) }
		}},
		{name: stopService, part: partService, in: everywhere, lasts: time.Second, strike: stop},
		{name: cutDatabase, part: partDatabase, in: pg, lasts: 100 * time.Millisecond, strike: cutFromDatabase},
		{name: stallDatabase, part: partDatabase, in: pg, lasts: 500 * time.Millisecond, strike: stallFromDatabase},
		{name: cutRelay, part: partConnection, in: everywhere, lasts: 100 * time.Millisecond, strike: cutFromRelay},
		{name: stallRelay, part: partConnection, in: everywhere, lasts: 300 * time.Millisecond, strike: stallFromRelay},
		{name: fillDisk, part: partDisk, in: []string{tinyDisk}, lasts: 500 * time.Millisecond, strike: fill},
	}
}

// faultsOfAll are those of what the service depends on.
func faultsOfAll() []fault {
	everywhere := []string{sqlite, tinyDisk, postgresql, cluster}
	return []fault{
		{name: killDatabase, part: partDatabase, in: []string{postgresql, cluster}, lasts: 100 * time.Millisecond, strike: func(t *testing.T, b blow) func() {
			b.pg.Kill(t)
			return func() { b.pg.Restart(t) }
		}},
		{name: killRelay, part: partRelay, in: everywhere, lasts: 200 * time.Millisecond, strike: func(t *testing.T, b blow) func() {
			b.receiver.stop(t)
			return func() {
				b.receiver.cfg.Without = nil
				if b.r.IntN(2) == 0 { // another release: content by DATA
					b.receiver.cfg.Without = []string{"CHUNKING"}
				}
				b.receiver.start(t)
			}
		}},
		{name: cutContent, part: partRelay, in: everywhere, lasts: 300 * time.Millisecond, strike: rules(func(r *rand.Rand) smtptest.Rule {
			command := []string{"DATA", "BDAT"}[r.IntN(2)]
			return smtptest.Rule{Command: command, Chance: 0.3, Action: smtptest.AtOctet(int64(1+r.IntN(1500)), smtptest.Reset())}
		})},
		{name: dropReply, part: partRelay, in: everywhere, lasts: 300 * time.Millisecond, strike: rules(func(*rand.Rand) smtptest.Rule {
			return smtptest.Rule{Command: smtptest.CommandContent, Chance: 0.3, Action: acceptAndDrop()}
		})},
		{name: refuseForNow, part: partRelay, in: everywhere, lasts: 300 * time.Millisecond, strike: rules(func(r *rand.Rand) smtptest.Rule {
			command := []string{"RCPT", "MAIL", smtptest.CommandContent}[r.IntN(3)]
			return smtptest.Rule{Command: command, Chance: 0.3, Action: smtptest.Reply("451 4.3.0 not now")}
		})},
	}
}

// stop stops a process where it stands.
func stop(t *testing.T, b blow) func() {
	t.Helper()
	b.n.signal(t, syscall.SIGSTOP)
	return func() { b.n.signal(t, syscall.SIGCONT) }
}

// cutFromDatabase breaks a node's connections to PostgreSQL, and new ones get nowhere.
func cutFromDatabase(_ *testing.T, b blow) func() {
	for _, line := range b.n.pgLines {
		line.Freeze()
		line.Cut()
	}
	return func() {
		for _, line := range b.n.pgLines {
			line.Resume()
		}
	}
}

// stallFromDatabase leaves a node's connections to PostgreSQL open, and what is sent does not arrive, or what is answered.
func stallFromDatabase(_ *testing.T, b blow) func() {
	deaf := b.r.IntN(2) == 0 // what was asked is done, and nobody hears of it
	for _, line := range b.n.pgLines {
		if deaf {
			line.FreezeReplies()
		} else {
			line.Freeze()
		}
	}
	return func() {
		cut := b.r.IntN(2) == 0
		for _, line := range b.n.pgLines {
			if cut {
				line.Cut()
			}
			line.Resume()
		}
	}
}

// cutFromRelay breaks a node's connections to the relay, and new ones get nowhere.
func cutFromRelay(_ *testing.T, b blow) func() {
	b.n.line.Freeze()
	b.n.line.Cut()
	return b.n.line.Resume
}

// stallFromRelay has messages arrive, and their replies not.
func stallFromRelay(_ *testing.T, b blow) func() {
	b.n.line.FreezeReplies()
	return func() {
		b.n.line.Cut()
		b.n.line.Resume()
	}
}

// acceptAndDrop is a relay that takes the message, and whose final reply does not come.
func acceptAndDrop() smtptest.Action { return smtptest.Sequence(smtptest.Accept(), smtptest.Drop()) }

// rules has the relay follow a rule for a while.
func rules(rule func(*rand.Rand) smtptest.Rule) func(*testing.T, blow) func() {
	return func(_ *testing.T, b blow) func() {
		b.receiver.behave(rule(b.r))
		return func() { b.receiver.behave() }
	}
}

// fill writes a file that leaves nothing of the disk, or not enough for the service to accept more.
func fill(t *testing.T, b blow) func() {
	t.Helper()
	path := filepath.Join(b.disk, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	leave := 0
	if b.r.IntN(2) == 0 {
		leave = 200 << 20
	}
	piece := make([]byte, 1<<20)
	for written := 0; written < diskSize-leave; written += len(piece) {
		if _, err := f.Write(piece); err != nil {
			break // full
		}
	}
	if b.n.runs() {
		before := b.ledger.refused.Load()
		within(t, "a message is refused for want of room", func() bool { return b.ledger.refused.Load() > before })
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// named gives faults by their names.
func named(t *testing.T, names ...string) []fault {
	t.Helper()
	var some []fault
	for _, name := range names {
		for _, f := range faults() {
			if f.name == name {
				some = append(some, f)
			}
		}
	}
	if len(some) != len(names) {
		t.Fatalf("not all are faults: %q", names)
	}
	return some
}
