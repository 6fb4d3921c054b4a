package chaos_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

// fault is a way to break a world.
type fault struct {
	name string
	part string // two faults of one part cannot be at the same time
	in   []string
	// lasts is how long it is left so at least; up to three times as long at random.
	lasts time.Duration
	// strike breaks something; mend makes it whole again.
	strike func(t *testing.T, w *world, r *rand.Rand) (mend func())
}

const (
	killService    = "service killed"
	stopService    = "service stopped for a while"
	killDatabase   = "PostgreSQL killed"
	cutDatabase    = "network to PostgreSQL cut"
	stallDatabase  = "network to PostgreSQL stalled"
	fillDisk       = "disk full"
	killRelay      = "relay killed"
	cutRelay       = "network to the relay cut"
	stallRelay     = "relay heard, not hearing: replies stalled, then cut"
	cutContent     = "connection lost inside the content"
	dropReply      = "final reply dropped"
	refuseForNow   = "relay answers 451"
	partService    = "service"
	partDatabase   = "database"
	partDisk       = "disk"
	partRelay      = "relay"
	partConnection = "line"
)

// faults are all there are.
func faults() []fault {
	everywhere := []string{sqlite, tinyDisk, postgresql}
	return []fault{
		{killService, partService, everywhere, 50 * time.Millisecond, func(t *testing.T, w *world, r *rand.Rand) func() {
			w.node.kill(t)
			if r.IntN(3) == 0 { // the next life too, while it starts or settles what the first one left
				w.node.start(t)
				pause(t.Context(), time.Duration(r.IntN(400))*time.Millisecond)
				w.node.kill(t)
			}
			return func() { w.node.start(t) }
		}},
		{stopService, partService, everywhere, time.Second, func(t *testing.T, w *world, _ *rand.Rand) func() {
			w.node.signal(t, syscall.SIGSTOP)
			return func() { w.node.signal(t, syscall.SIGCONT) }
		}},
		{killDatabase, partDatabase, []string{postgresql}, 100 * time.Millisecond, func(t *testing.T, w *world, _ *rand.Rand) func() {
			w.pg.Kill(t)
			return func() { w.pg.Restart(t) }
		}},
		{cutDatabase, partDatabase, []string{postgresql}, 100 * time.Millisecond, func(_ *testing.T, w *world, _ *rand.Rand) func() {
			w.pgLine.Freeze() // so that new connections get nowhere
			w.pgLine.Cut()
			return w.pgLine.Resume
		}},
		{stallDatabase, partDatabase, []string{postgresql}, 500 * time.Millisecond, func(_ *testing.T, w *world, r *rand.Rand) func() {
			if r.IntN(2) == 0 {
				w.pgLine.FreezeReplies() // what was asked is done, and nobody hears of it
			} else {
				w.pgLine.Freeze()
			}
			return func() {
				if r.IntN(2) == 0 {
					w.pgLine.Cut()
				}
				w.pgLine.Resume()
			}
		}},
		{fillDisk, partDisk, []string{tinyDisk}, 500 * time.Millisecond, fill},
		{killRelay, partRelay, everywhere, 200 * time.Millisecond, func(t *testing.T, w *world, r *rand.Rand) func() {
			w.receiver.stop(t)
			return func() {
				w.receiver.cfg.Without = nil
				if r.IntN(2) == 0 { // another release: content by DATA
					w.receiver.cfg.Without = []string{"CHUNKING"}
				}
				w.receiver.start(t)
			}
		}},
		{cutRelay, partConnection, everywhere, 100 * time.Millisecond, func(_ *testing.T, w *world, _ *rand.Rand) func() {
			w.line.Freeze()
			w.line.Cut()
			return w.line.Resume
		}},
		{stallRelay, partConnection, everywhere, 300 * time.Millisecond, func(_ *testing.T, w *world, _ *rand.Rand) func() {
			w.line.FreezeReplies() // messages arrive, and their replies do not
			return func() {
				w.line.Cut()
				w.line.Resume()
			}
		}},
		{cutContent, partRelay, everywhere, 300 * time.Millisecond, rules(func(r *rand.Rand) smtptest.Rule {
			command := []string{"DATA", "BDAT"}[r.IntN(2)]
			return smtptest.Rule{Command: command, Chance: 0.3, Action: smtptest.AtOctet(int64(1+r.IntN(1500)), smtptest.Reset())}
		})},
		{dropReply, partRelay, everywhere, 300 * time.Millisecond, rules(func(*rand.Rand) smtptest.Rule {
			return smtptest.Rule{Command: smtptest.CommandContent, Chance: 0.3, Action: acceptAndDrop()}
		})},
		{refuseForNow, partRelay, everywhere, 300 * time.Millisecond, rules(func(r *rand.Rand) smtptest.Rule {
			command := []string{"RCPT", "MAIL", smtptest.CommandContent}[r.IntN(3)]
			return smtptest.Rule{Command: command, Chance: 0.3, Action: smtptest.Reply("451 4.3.0 not now")}
		})},
	}
}

// acceptAndDrop is a relay that takes the message, and whose final reply does not come.
func acceptAndDrop() smtptest.Action { return smtptest.Sequence(smtptest.Accept(), smtptest.Drop()) }

// rules has the relay follow a rule for a while.
func rules(rule func(*rand.Rand) smtptest.Rule) func(*testing.T, *world, *rand.Rand) func() {
	return func(_ *testing.T, w *world, r *rand.Rand) func() {
		w.receiver.behave(rule(r))
		return func() { w.receiver.behave() }
	}
}

// fill writes a file that leaves nothing of the disk, or not enough for the service to accept more.
func fill(t *testing.T, w *world, r *rand.Rand) func() {
	t.Helper()
	path := filepath.Join(w.disk, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	leave := 0
	if r.IntN(2) == 0 {
		leave = 200 << 20
	}
	piece := make([]byte, 1<<20)
	for written := 0; written < diskSize-leave; written += len(piece) {
		if _, err := f.Write(piece); err != nil {
			break // full
		}
	}
	if w.node.cmd != nil {
		before := w.ledger.refused.Load()
		within(t, "a message is refused for want of room", func() bool { return w.ledger.refused.Load() > before })
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
