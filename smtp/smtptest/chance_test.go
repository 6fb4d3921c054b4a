package smtptest_test

import (
	"math"
	"strings"
	"testing"

	"github.com/postrider/postrider/smtp/smtptest"
)

// TestChance asks 300 times: that a chance of one half gives only one answer
// then is less likely than a broken machine.
func TestChance(t *testing.T) {
	for name, chance := range map[string]float64{
		"always, unset": 0, "always": 1, "never": math.SmallestNonzeroFloat64, "by chance": 0.5,
	} {
		t.Run(name, func(t *testing.T) {
			srv := smtptest.StartT(t, smtptest.Config{Rules: []smtptest.Rule{
				{Command: "NOOP", Chance: chance, Action: smtptest.Reply("450 4.2.0 not now")},
			}})
			x := hello(t, srv)
			refused := 0
			const asked = 300
			for range asked {
				x.send("NOOP\r\n")
				if l := x.reply(); strings.HasPrefix(l[len(l)-1], "450 ") {
					refused++
				}
			}
			switch {
			case (chance == 0 || chance == 1) && refused != asked,
				chance > 0 && chance < 0.1 && refused != 0,
				chance == 0.5 && (refused == 0 || refused == asked):
				t.Errorf("chance %g: %d of %d refused", chance, refused, asked)
			}
		})
	}
}

func TestChanceIsAProbability(t *testing.T) {
	for _, chance := range []float64{-0.1, 1.5, math.NaN(), math.Inf(1)} {
		_, err := smtptest.New(smtptest.Config{Rules: []smtptest.Rule{{}, {Chance: chance}}})
		if err == nil || !strings.Contains(err.Error(), "Config.Rules[1].Chance") {
			t.Errorf("chance %g: error %v", chance, err)
		}
	}
}
