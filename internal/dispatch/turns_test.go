package dispatch

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// letter is what the tests send: whose it is, its class, its number within those and its recipients.
type letter struct {
	flowKey
	n, cost int
}

func tenant(i int) uuid.UUID { return uuid.UUID{15: byte(i), 14: byte(i >> 8)} }

func key(i, class int) flowKey { return flowKey{tenant: tenant(i), class: class} }

// post puts n messages of a tenant in.
func post(t *turns[letter], k flowKey, from, n, cost int) {
	for i := range n {
		t.push(k, letter{flowKey: k, n: from + i, cost: cost}, cost)
	}
}

// checkRing fails if the circle of flows is broken.
func checkRing(tb interface{ Fatalf(string, ...any) }, t *turns[letter]) {
	for class := range t.rings {
		r, waiting := &t.rings[class], 0
		f := r.at
		for range r.size {
			if f.next.prev != f || !f.ringed || f.class != class {
				tb.Fatalf("class %d: broken circle", class)
			}
			waiting += f.len()
			f = f.next
		}
		if f != r.at {
			tb.Fatalf("class %d: the circle has not %d flows", class, r.size)
		}
		if waiting != t.waiting[class] {
			tb.Fatalf("class %d: %d messages wait, counted %d", class, waiting, t.waiting[class])
		}
	}
}

// Whatever is put in comes out once, each tenant's in order, and something comes out as long as something is in.
func TestTurnsLoseNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		turns := newTurns[letter]()
		in, out := map[flowKey]int{}, map[flowKey]int{}
		total := 0
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				k := key(rapid.IntRange(0, 5).Draw(t, "tenant"), rapid.IntRange(0, 1).Draw(t, "class"))
				n := rapid.IntRange(1, 20).Draw(t, "n")
				post(turns, k, in[k], n, rapid.SampledFrom([]int{1, 1, 1, 3, 100, 10_000}).Draw(t, "cost"))
				in[k] += n
				total += n
			},
			"next": func(t *rapid.T) {
				l, ok := turns.next()
				if ok != (total > 0) {
					t.Fatalf("a message came: %v; %d wait", ok, total)
				}
				if !ok {
					return
				}
				if l.n != out[l.flowKey] {
					t.Fatalf("number %d of %v came, want %d", l.n, l.flowKey, out[l.flowKey])
				}
				out[l.flowKey]++
				total--
			},
			"drain": func(t *rapid.T) {
				if got := len(turns.drain()); got != total {
					t.Fatalf("drain gave %d, want %d", got, total)
				}
				for k := range in {
					out[k] = in[k]
				}
				total = 0
			},
			"forget": func(*rapid.T) { turns.forget() },
			"": func(t *rapid.T) {
				checkRing(t, turns)
				if turns.buffered() != total {
					t.Fatalf("%d buffered, want %d", turns.buffered(), total)
				}
			},
		})
	})
}

// Of every ten messages that leave while bulk waits one is bulk, and while transactional waits too exactly one: transactional goes first, bulk
// does not starve.
func TestBulkIsNotStarved(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		turns := newTurns[letter]()
		// Transactional messages never run out; bulk ones come and go.
		costs := rapid.SampledFrom([]int{1, 7, 500})
		number := 0
		feed := func(class, tenants int) {
			for i := range tenants {
				number++
				post(turns, key(i, class), number, 1, costs.Draw(t, "cost"))
			}
		}
		var since int // messages since the last bulk one, all of them while bulk waited
		for range rapid.IntRange(10, 200).Draw(t, "steps") {
			for turns.waiting[transactional] == 0 {
				feed(transactional, rapid.IntRange(1, 4).Draw(t, "tenants"))
			}
			if rapid.IntRange(0, 4).Draw(t, "bulk comes") == 0 {
				feed(bulk, rapid.IntRange(1, 4).Draw(t, "tenants"))
			}
			waited := turns.waiting[bulk] > 0
			l, _ := turns.next()
			switch {
			case !waited:
				since = 0
				if l.class != transactional {
					t.Fatalf("bulk left that was not there")
				}
			case l.class == bulk:
				if since != bulkEvery-1 {
					t.Fatalf("bulk left after %d transactional ones, want %d", since, bulkEvery-1)
				}
				since = 0
			default:
				if since++; since >= bulkEvery {
					t.Fatalf("%d messages left and none was bulk", since)
				}
			}
		}
	})
}

// A tenant that joins waits for at most one message of each of the others, however much they have and whatever it costs.
func TestNewcomerWaitsOneRound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		turns := newTurns[letter]()
		others := rapid.IntRange(1, 30).Draw(t, "others")
		for i := range others {
			post(turns, key(i, transactional), 0, rapid.IntRange(1, 100).Draw(t, "backlog"), rapid.IntRange(1, 50).Draw(t, "cost"))
		}
		for range rapid.IntRange(0, 100).Draw(t, "sent before") {
			turns.next()
		}
		newcomer := key(1000, transactional)
		post(turns, newcomer, 0, 1, 1)
		before := map[flowKey]int{}
		for {
			l, _ := turns.next()
			if l.flowKey == newcomer {
				return
			}
			if before[l.flowKey]++; before[l.flowKey] > 1 {
				t.Fatalf("tenant %v sent %d messages before the newcomer", l.tenant, before[l.flowKey])
			}
		}
	})
}

// Tenants who always wait send equally many recipients, but for one message each.
func TestRecipientsAreShared(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		turns := newTurns[letter]()
		tenants := rapid.IntRange(2, 8).Draw(t, "tenants")
		cost, most := make([]int, tenants), 0
		for i := range tenants {
			cost[i] = rapid.IntRange(1, 200).Draw(t, "cost")
			most = max(most, cost[i])
			post(turns, key(i, bulk), 0, 500, cost[i])
		}
		sent := map[flowKey]int{}
		for range rapid.IntRange(1, 400).Draw(t, "messages") {
			l, _ := turns.next()
			sent[l.flowKey] += l.cost
		}
		for i := range tenants {
			for j := range tenants {
				if d := sent[key(i, bulk)] - sent[key(j, bulk)]; d > 2*most+quantum {
					t.Fatalf("tenant %d sent %d recipients more than tenant %d; the largest message has %d", i, d, j, most)
				}
			}
		}
	})
}

// A tenant cannot escape what a large message costs by having nothing more to send for a moment.
func TestDebtIsKept(t *testing.T) {
	t.Parallel()
	turns := newTurns[letter]()
	big, small := key(1, transactional), key(2, transactional)
	post(turns, small, 0, 1000, 1)
	sentBig, sentSmall := 0, 0
	for range 500 {
		if turns.flow(big).len() == 0 {
			post(turns, big, 0, 1, 50) // one at a time, always a new one
		}
		if l, _ := turns.next(); l.flowKey == big {
			sentBig += l.cost
		} else {
			sentSmall += l.cost
		}
	}
	if sentBig > sentSmall+100 {
		t.Fatalf("%d recipients of the tenant with large messages left, %d of the other", sentBig, sentSmall)
	}
}

// planned is the rig of the claim tests: what the store holds, and what a drain does with it.
type planned struct {
	turns *turns[letter]
	store map[flowKey]int
	next  int
}

func (p *planned) look() {
	var due []flowKey
	for k, n := range p.store {
		if n > 0 {
			due = append(due, k)
		}
	}
	p.turns.seen(due)
}

// claim claims once; ok is false if nothing was to be claimed.
func (p *planned) claim(target int) (k flowKey, got int, ok bool) {
	k, limit, ok := p.turns.plan(target)
	if !ok {
		return k, 0, false
	}
	got = min(limit, p.store[k])
	p.store[k] -= got
	post(p.turns, k, p.next, got, 1)
	p.next += got
	p.turns.claimed(k, limit, got)
	return k, got, true
}

// Claims hold no more than about the target, everything gets claimed, and a newcomer is claimed next.
func TestPlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := &planned{turns: newTurns[letter](), store: map[flowKey]int{}}
		total := 0
		for i := range rapid.IntRange(1, 40).Draw(t, "tenants") {
			n := rapid.IntRange(1, 300).Draw(t, "messages")
			p.store[key(i, rapid.IntRange(0, 1).Draw(t, "class"))] = n
			total += n
		}
		target := rapid.SampledFrom([]int{1, 2, 10, 100, 500}).Draw(t, "target")
		p.look()
		newcomerAt := rapid.IntRange(0, total-1).Draw(t, "newcomer at")
		newcomer := key(1000, transactional)
		waits := false
		for sent := 0; sent < total; sent++ {
			if sent == newcomerAt {
				p.store[newcomer]++
				total++
				p.look()
				waits = true
			}
			for {
				if _, _, ok := p.claim(target); !ok {
					break
				}
				if n := p.turns.buffered(); n > 2*target {
					t.Fatalf("%d claimed, target %d", n, target)
				}
			}
			if p.turns.buffered() == 0 {
				p.look()
				continue
			}
			if waits && p.store[newcomer] > 0 && p.turns.buffered() < target {
				t.Fatalf("the newcomer was not claimed although there was room")
			}
			waits = waits && p.store[newcomer] > 0
			if _, ok := p.turns.next(); !ok {
				t.Fatalf("nothing to send after %d of %d", sent, total)
			}
		}
	})
}

// With one tenant that has much, claims are few and large; a second tenant's message is claimed at once and leaves next but one.
func TestPlanNewcomerBehindBacklog(t *testing.T) {
	t.Parallel()
	for _, target := range []int{1, 10, 400} {
		t.Run(fmt.Sprint(target), func(t *testing.T) {
			t.Parallel()
			p := &planned{turns: newTurns[letter](), store: map[flowKey]int{key(1, transactional): 50_000}}
			p.look()
			claims := 0
			for range 2000 {
				for {
					if _, _, ok := p.claim(target); !ok {
						break
					}
					claims++
				}
				p.turns.next()
			}
			if most := 2000/max(1, target/2) + 2; claims > most {
				t.Errorf("%d claims for 2000 messages with target %d, want at most %d", claims, target, most)
			}
			newcomer := key(2, transactional)
			p.store[newcomer] = 1
			p.look()
			if k, got, ok := p.claim(target); !ok || k != newcomer || got != 1 {
				t.Fatalf("claimed %d for %v, want the newcomer's", got, k)
			}
			for before := range 3 {
				if l, _ := p.turns.next(); l.flowKey == newcomer {
					return
				} else if before == 1 {
					t.Fatalf("two messages left before the newcomer's")
				}
			}
		})
	}
}

// A claim under way is not proposed again, and what it asked for counts as claimed.
func TestPlanWhileClaiming(t *testing.T) {
	t.Parallel()
	turns := newTurns[letter]()
	turns.seen([]flowKey{key(1, transactional)})
	k, limit, ok := turns.plan(10)
	if !ok || limit != 10 {
		t.Fatalf("plan: %v %d %v", k, limit, ok)
	}
	if _, _, again := turns.plan(10); again {
		t.Fatal("the same claim was proposed twice")
	}
	turns.claimed(k, limit, 3)
	if turns.dueAny() {
		t.Error("due although fewer came than asked for")
	}
	if turns.pending != 0 {
		t.Errorf("%d pending", turns.pending)
	}
}

// BenchmarkPlan is the choice of the next claim where many tenants have messages.
func BenchmarkPlan(b *testing.B) {
	for _, tenants := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(tenants), func(b *testing.B) {
			p := &planned{turns: newTurns[letter](), store: map[flowKey]int{}}
			for i := range tenants {
				p.store[key(i, i%2)] = 1 << 40
			}
			p.look()
			b.ReportAllocs()
			for b.Loop() { // a message
				p.claim(400)
				p.turns.next()
			}
		})
	}
}

func BenchmarkTurns(b *testing.B) {
	for _, tenants := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(tenants), func(b *testing.B) {
			turns := newTurns[letter]()
			for i := range tenants {
				post(turns, key(i, i%2), 0, 2, 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				l, _ := turns.next()
				turns.push(l.flowKey, l, 1)
			}
		})
	}
}
