package dispatch

import (
	"testing"

	"pgregory.net/rapid"
)

// Tokens are neither lost nor made, and a share that holds none gets one as soon as one is free.
func TestTokens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(t, "size")
		tokens := newTokens(size)
		shares := make([]*share, rapid.IntRange(1, 8).Draw(t, "relays"))
		inUse := make([]int, len(shares))
		for i := range shares {
			shares[i] = tokens.join(make(chan struct{}, 1))
		}
		pick := func(t *rapid.T) int { return rapid.IntRange(0, len(shares)-1).Draw(t, "relay") }
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				if i := pick(t); shares[i].take() {
					inUse[i]++
				}
			},
			"give": func(t *rapid.T) {
				if i := pick(t); inUse[i] > 0 {
					n := rapid.IntRange(1, inUse[i]).Draw(t, "n")
					inUse[i] -= n
					shares[i].give(n)
				}
			},
			"idle": func(t *rapid.T) { shares[pick(t)].idle() },
			"": func(t *rapid.T) {
				held := 0
				for i, s := range shares {
					held += s.held
					if s.held != inUse[i]+s.granted || s.granted < 0 {
						t.Fatalf("relay %d uses %d, granted %d, held %d", i, inUse[i], s.granted, s.held)
					}
					if s.granted > 0 && len(s.wake) == 0 {
						// It was told before; the test does not empty the channel, so it must be there.
						t.Fatalf("relay %d was granted a token and not told", i)
					}
					if s.waiting && s.held == 0 && tokens.free > 0 {
						t.Fatalf("relay %d holds none and waits although %d are free", i, tokens.free)
					}
				}
				if held+tokens.free != size || tokens.free < 0 {
					t.Fatalf("%d held and %d free of %d", held, tokens.free, size)
				}
			},
		})
	})
}

// One relay alone gets most, busy ones get equal parts, and a newcomer finds one free.
func TestTokensAreShared(t *testing.T) {
	t.Parallel()
	tokens := newTokens(100)
	fill := func(s *share) {
		for s.take() {
		}
	}
	a := tokens.join(make(chan struct{}, 1))
	fill(a)
	if a.held != 75 {
		t.Errorf("alone it holds %d of 100", a.held)
	}
	b, c := tokens.join(make(chan struct{}, 1)), tokens.join(make(chan struct{}, 1))
	fill(b)
	fill(c)
	if b.held == 0 || c.held == 0 || tokens.free == 0 {
		t.Errorf("held %d, %d, %d, free %d", a.held, b.held, c.held, tokens.free)
	}
	// As messages end, those with less catch up.
	for range 1000 {
		for _, s := range []*share{a, b, c} {
			for s.granted > 0 {
				s.take()
			}
			if s.held > 0 {
				s.give(1)
			}
			fill(s)
		}
	}
	for _, s := range []*share{a, b, c} {
		if s.held < 25 || s.held > 35 {
			t.Errorf("held %d, %d, %d, free %d", a.held, b.held, c.held, tokens.free)
			break
		}
	}
}

// With one token two relays take turns.
func TestOneToken(t *testing.T) {
	t.Parallel()
	tokens := newTokens(1)
	a, b := tokens.join(make(chan struct{}, 1)), tokens.join(make(chan struct{}, 1))
	if !a.take() || b.take() || a.take() {
		t.Fatal("one token was given twice, or not at all")
	}
	a.give(1)
	if a.take() || len(b.wake) != 1 || !b.take() {
		t.Fatal("it is b's turn")
	}
	b.give(1)
	if !a.take() {
		t.Fatal("it is a's turn")
	}
}
